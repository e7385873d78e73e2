import { forgetPages, keep, ops, scope, type Device, type DType, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Architecture, NameMap } from './architecture'
import type { Weight } from './blocks/types'
import { onDevice } from './device'
import { familyOf } from './families'
import { tokenIds } from './families/config'
import { fileNameOf } from './file-names'
import { FlatParameters, type TrainedValues } from './flat'
import { storedWeights, type StoredWeight } from './layout'
import { Parameters, type LayerHooks } from './parameters'
import type { Quantization } from './quantized/codes'
import { QuantizedWeights } from './quantized/weights'
import { takeCut, wholeShare, type Share } from './share'
import type { Weights } from './weights'

export interface LoadOptions {
  /** Type that the model computes in. */
  readonly dtype: Extract<DType, 'float32' | 'bfloat16' | 'float16'>
  readonly device: Device
  /** All weights train (full fine-tuning), or none (inference, adapters). */
  readonly train: boolean
  /** Frozen matrices of the layers are kept in few bits. Default `null`: as they compute. */
  readonly quantize?: Quantization | null
  /** What of the model is read. Default: all. */
  readonly share?: (architecture: Architecture) => Share
  /** Holds the weights where ranks divide them; `layers` of the whole model. Default: this process holds all that it reads. */
  readonly hold?: (specs: readonly StoredWeight[], layers: number) => DividedWeights
}

/** Weights that ranks divide between them: those that train, or frozen ones that are gathered as they are used. */
export type DividedWeights = LayerHooks & HeldWeights & (TrainedValues | { readonly frozen: true })
interface HeldWeights {
  readonly weights: readonly Weight[]
  /** Sets a weight: `write` fills all of it, of which this rank keeps its share. */
  fill(index: number, write: (whole: Tensor) => void): void
  /** All are set. */
  sync(): void
  free(): void
}

/**
 * Reads a checkpoint into the decoder's joined weights. Frozen weights that lie in the file as they are computed with
 * stay mapped; nothing is copied for them.
 * @throws ModelError `model.family`, `model.config`, `model.missing`, `model.shape`, `model.unexpected`, `model.tied`
 */
export function loadParameters(weights: Weights, options: LoadOptions): Parameters {
  const family = familyOf(weights.config)
  const architecture = withEnds(family.architecture(weights.config), weights)
  const names = family.names(architecture)
  const share = (options.share ?? wholeShare)(architecture), stored = storedWeights(architecture, names, share)
  const find: Find = (name) => fileNameOf(weights, names.body, name)
  const copies = tiedCopies(weights, architecture, names, find)
  checkNames(weights, storedWeights(architecture, names), find, [...copies.keys()], names.ignore)
  const few = options.quantize && !options.train ? new QuantizedWeights(stored, architecture.layers, options.dtype, options.device, options.quantize) : null
  const divided = options.hold?.(stored, architecture.layers) ?? few
  const held = divided ?? (options.train ? new FlatParameters(stored, options.dtype, options.device) : null)
  const entries = stored.map((spec, i): [string, Weight] => {
    held?.fill(i, (whole) => fill(whole, weights, spec, find))
    return [spec.key, held === null ? { value: frozen(weights, spec, find, options), master: null, grad: null } : held.weights[i]]
  })
  held?.sync()
  const fileNames = new Map(storedWeights(architecture, names).flatMap((spec) => spec.parts.map((part) => [part.name, find(part.name) as string] as const)))
  const flat = held === null || 'frozen' in held ? null : held
  const parameters = new Parameters(architecture, names, new Map(entries), flat, options.dtype, options.device, fileNames, copies, share)
  parameters.hooks = divided
  if (divided !== null && 'frozen' in divided) parameters.held = divided
  return parameters
}

/** The same model with all weights trainable, after an adapter was merged into frozen ones. The argument is used up. */
export function thaw(frozen: Parameters): Parameters {
  const { architecture, names, dtype, device, fileNames, copies, share, layout: stored } = frozen
  const flat = new FlatParameters(stored, dtype, device)
  const entries = stored.map((spec, i): [string, Weight] => {
    ops.copy_(flat.weights[i].master as Tensor, frozen.stored(spec.key).value)
    return [spec.key, flat.weights[i]]
  })
  frozen.free()
  flat.sync()
  return new Parameters(architecture, names, new Map(entries), flat, dtype, device, fileNames, copies, share)
}

/** generation_config.json may name ends of an answer, such as a chat model's end of turn, that config.json does not. */
function withEnds(architecture: Architecture, { generationConfig = {} }: Weights): Architecture {
  return { ...architecture, eosIds: [...new Set([...architecture.eosIds, ...tokenIds(generationConfig, 'eos_token_id', 'generation_config.json')])] }
}

type Find = (name: string) => string | undefined

/** The head that a tied model's file holds all the same, by the name of its twin. It must be what config.json says it is. */
function tiedCopies(weights: Weights, architecture: Architecture, names: NameMap, find: Find): Map<string, string> {
  const head = find(`${names.head}.weight`), twin = `${names.embedding}.weight`, embedding = find(twin)
  if (!architecture.tiedHead || head === undefined || embedding === undefined) return new Map()
  const same = scope(() => {
    const [a, b] = [head, embedding].map((name) => weights.read(name))
    return a.shape.join() === b.shape.join() && a.dtype === b.dtype && ops.equal(a, b)
  })
  if (same) return new Map([[head, twin]])
  throw new ModelError('model.tied', `config.json says that head and embedding are one weight, but ${head} differs from ${embedding} in ${weights.path}; set "tie_word_embeddings" to false in config.json`, { file: weights.path, head, embedding })
}

function checkNames(weights: Weights, stored: readonly StoredWeight[], find: Find, copies: readonly string[], ignore: readonly RegExp[]): void {
  const wanted = stored.flatMap((spec) => spec.parts.map(({ name, whole }) => ({ name, shape: whole })))
  const missing = wanted.filter((part) => find(part.name) === undefined).map((part) => part.name)
  if (missing.length > 0) {
    throw new ModelError('model.missing', `${weights.path} lacks ${missing.length} of ${wanted.length} weights, first ${missing.slice(0, 3).join(', ')}; the download may be incomplete, or config.json is of another model`, { file: weights.path, missing })
  }
  const found = new Set<string>(copies)
  for (const part of wanted) {
    const name = find(part.name) as string
    found.add(name)
    const { shape } = weights.info(name)
    if (shape.join() !== part.shape.join()) {
      throw new ModelError('model.shape', `${name} in ${weights.path} has shape [${shape.join(', ')}], config.json asks for [${part.shape.join(', ')}]; config.json and weights are of different models`, { file: weights.path, name, shape, expected: part.shape })
    }
  }
  refuseUnread(weights, found, ignore)
}

/** A weight that the record does not know would be dropped in silence, and the model would answer wrongly. */
function refuseUnread(weights: Weights, found: ReadonlySet<string>, ignore: readonly RegExp[]): void {
  const unread = weights.names().filter((name) => !found.has(name) && !ignore.some((pattern) => pattern.test(name)))
  if (unread.length > 0) {
    throw new ModelError('model.unexpected', `${weights.path} has ${unread.length} weights that config.json does not speak of, first ${unread.slice(0, 3).join(', ')}; use the model's own config.json (number of layers, biases, tie_word_embeddings)`, { file: weights.path, unread })
  }
}

function frozen(weights: Weights, spec: StoredWeight, find: Find, { dtype, device }: LoadOptions): Tensor {
  return keep(scope(() => {
    const [{ name, cut }] = spec.parts
    if (spec.parts.length === 1) return onDevice(ops.contiguous(takeCut(weights.read(find(name) as string, { dtype }), cut)), device)
    const whole = ops.empty(spec.shape, { dtype, device })
    fill(whole, weights, spec, find)
    return whole
  }))
}

function fill(whole: Tensor, weights: Weights, { parts }: StoredWeight, find: Find): void {
  let start = 0
  for (const { name, rows, cut } of parts) {
    scope(() => {
      const read = weights.read(find(name) as string)
      ops.copy_(ops.narrow(whole, 0, start, rows), takeCut(read, cut))
      forgetPages(read)
    })
    start += rows
  }
}
