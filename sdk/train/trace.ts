import { fusedAdamW, noGrad, ops, scope, tensor, type Device, type Tensor } from 'fettle-native'
import { loadAdapter } from '../adapters/adapter'
import { PrefixAdapter } from '../adapters/prefix'
import { refuseMerge } from '../adapters/kind'
import { PlanError } from '../errors'
import { plainBlocks } from '../models/blocks/plain'
import type { Batch } from '../models/batch'
import type { BlockContext, Blocks } from '../models/blocks/types'
import type { Decoder } from '../models/decoder'
import { thaw } from '../models/load'
import type { NamedParameter, Parameters } from '../models/parameters'
import type { Cut } from '../models/share'
import { openWeights } from '../models/weights'
import type { Weights } from '../models/weights'
import { unknownName } from '../plan/refuse'
import { sumOver } from '../parallel/gradients'
import { loadRank, rankDecoder } from '../parallel/open'
import { partOf, type Part } from '../parallel/parts'
import { Ranks } from '../parallel/ranks'
import { parallelStep } from '../parallel/step'
import { defaultMesh } from '../plan/defaults'
import type { MeshPlan } from '../plan/plan'
import { walkAll, type ParallelStep } from './step'
import { traceBatch, type TraceBatch } from './trace-inputs'

/** What `fettle trace` is asked. */
export interface TraceOptions {
  /** Folder or file of the model, already on this machine. */
  readonly model: string
  /** Tensors by the names of `fettle trace`'s input file. */
  readonly inputs: ReadonlyMap<string, Tensor>
  /** Folder of an adapter; then it alone trains. */
  readonly adapter?: string
  /** Merge the adapter into the weights first. */
  readonly merge?: boolean
  readonly dtype?: 'fp32' | 'bf16'
  readonly device?: Device
  /** Gradients to give. */
  readonly grads?: 'all' | readonly string[]
  /** AdamW steps on the batch (betas 0.9 and 0.999, eps 1e-8, decay on all that trains). */
  readonly steps?: number
  readonly learningRate?: number
  readonly weightDecay?: number
  /** Which form of the blocks runs. Default: plain. */
  readonly blocks?: (parameters: Parameters) => Blocks
}

/**
 * Runs a batch through a model so that any reference can be compared: `logits` [B, T, V] in fp32; with labels `loss` [1]
 * (mean over supervised tokens) and `grad.NAME`; with steps `losses` [N] (before each step) and `after.NAME` of all that
 * trains. Names are those of the model's checkpoint, or of adapter_model.safetensors when an adapter trains.
 *
 * The tensors belong to the caller's scope.
 * With labels that supervise nothing there is no loss.
 * @throws ModelError `trace.input`, PlanError `trace.option` and, for a name in `grads`, `plan.unknown`, and what loading throws
 */
export function trace(options: TraceOptions): Map<string, Tensor> {
  return scope(() => new Map(traceRank(options, defaultMesh, Ranks.alone()).map(({ name, values, whole }) => [name, ops.view(values, whole)])))
}

/** As {@link trace} on a rank of a mesh, each with its share of the batch's rows: the parts that it writes. */
export function traceRank(options: TraceOptions, mesh: MeshPlan, ranks: Ranks): Part[] {
  const weights = openWeights(options.model)
  try {
    return noGrad(() => scope(() => {
      const parameters = prepare(weights, options, mesh, ranks)
      const decoder = rankDecoder(parameters, (options.blocks ?? plainBlocks)(parameters), ranks)
      try {
        return new TraceRun(decoder, options, ranks, ownRows(options.inputs, decoder, ranks)).parts()
      } finally {
        decoder.free()
        parameters.free()
      }
    }))
  } finally {
    weights.close()
  }
}

function prepare(weights: Weights, options: TraceOptions, mesh: MeshPlan, ranks: Ranks): Parameters {
  const { adapter, merge = false, dtype = 'fp32', device = 'cpu', grads, steps = 0 } = options
  if (merge && adapter === undefined) refuse('merge', 'an adapter to merge', 'none')
  if (merge && ranks.size > 1) refuse('merge', 'one rank', `${ranks.size}; merge the adapter first, with fettle merge-lora`)
  if (!Number.isInteger(steps) || steps < 0) refuse('steps', 'a whole number from 0 up', String(steps))
  const training = grads !== undefined || steps > 0
  if (training && !options.inputs.has('labels')) refuse('grads and steps', 'labels in the inputs', 'none')
  const parameters = loadRank(weights, { dtype: dtype === 'bf16' ? 'bfloat16' : 'float32', device, train: training && adapter === undefined }, mesh, ranks)
  if (adapter === undefined) return parameters
  const attached = loadAdapter(parameters, adapter)
  if (!merge) return parameters
  if (attached instanceof PrefixAdapter) throw refuseMerge(adapter)
  attached.fuse()
  return training ? thaw(parameters) : parameters
}

/** A batch, the rows of it that this rank computes, and how many supervised tokens all of it has. */
interface OwnRows {
  readonly all: TraceBatch
  readonly rows: TraceBatch
  /** It has none of its own, and goes along with one of the others'. */
  readonly isEmpty: boolean
  readonly first: number
  /** What this rank trains on: its rows; or, where they have no label, one of another's, which it walks along with. */
  readonly trained: Batch | null
  readonly supervised: number
}

/** Rows are divided as evenly as they go between ranks that read their own. */
function ownRows(inputs: TraceOptions['inputs'], { parameters: { architecture, device } }: Decoder, ranks: Ranks): OwnRows {
  const all = traceBatch(inputs, architecture, device), { index, count } = ranks.data, supervised = all.batch.targets?.count ?? 0
  const first = Math.floor((all.rows * index) / count), end = Math.floor((all.rows * (index + 1)) / count), longest = Math.max(...all.batch.lengths)
  const cut = (from: number, length: number): TraceBatch => {
    const rows = new Map([...inputs].map(([name, value]) => [name, value.shape.length > 1 && value.shape[0] === all.rows ? ops.narrow(value, 0, from, length) : value]))
    const part = traceBatch(rows, architecture, device)
    return { ...part, batch: { ...part.batch, lengths: part.batch.lengths.map(() => longest) } }
  }
  const isEmpty = first === end, rows = count === 1 ? all : isEmpty ? cut(0, 1) : cut(first, end - first)
  const trained = rows.batch.targets !== undefined && !isEmpty ? rows.batch : supervised === 0 || count === 1 ? null : { ...cut(labelled(inputs, all), 1).batch, ghost: true }
  return { all, rows, isEmpty, first, trained, supervised }
}

/** A row that has a label. */
function labelled(inputs: TraceOptions['inputs'], { rows, length }: TraceBatch): number {
  const labels = inputs.get('labels')!.toArray()
  return Array.from({ length: rows }, (_, row) => row).findIndex((row) => labels.slice(row * length + 1, (row + 1) * length).some((label) => label !== -100))
}

/** One trace of a rank. */
class TraceRun {
  private readonly parallel: ParallelStep | null

  constructor(private readonly decoder: Decoder, private readonly options: TraceOptions, private readonly ranks: Ranks, private readonly own: OwnRows) {
    const { grads, steps = 0 } = options
    this.parallel = grads !== undefined || steps > 0 ? parallelStep(ranks, decoder) : null
  }

  parts(): Part[] {
    const { decoder, options: { grads, steps }, own: { rows: { batch }, supervised } } = this
    const context = decoder.context(batch, { mode: 'infer' }), hidden = decoder.hidden(batch, context)
    const parts = this.logits(decoder.headLogits(hidden, context))
    if (supervised === 0) {
      // No mean over no tokens: what was asked of the loss has no answer, what was not is left out.
      if (grads !== undefined || steps) refuse('grads and steps', 'at least one label other than −100 after the first position', 'none')
      return parts
    }
    if (grads === undefined && !steps) return [...parts, ...this.number('loss', [this.loss(hidden, context)])]
    const wanted = chosen(decoder.parameters, grads ?? [])
    const losses = [this.backwardOnce()]
    parts.push(...this.number('loss', losses), ...this.values(wanted, 'grad', decoder.parameters.flat!.grad))
    if (steps) {
      this.train(losses)
      parts.push(...this.number('losses', losses), ...this.values(trained(decoder.parameters), 'after', decoder.parameters.flat!.master))
    }
    return parts
  }

  private logits(logits: Tensor): Part[] {
    const { place } = this.ranks, { all, rows: own, first, isEmpty } = this.own, { vocabSize } = this.decoder.parameters.architecture
    if (place.tp > 0 || place.pp > 0 || isEmpty) return []
    const whole = [all.rows, all.length, vocabSize], cut: Cut = { dim: 0, stretches: [{ start: first, length: own.rows }], holders: [1] }
    return [{ name: 'logits', whole, cut, shape: [own.rows, own.length, vocabSize], from: 0, length: logits.numel, values: ops.view(logits, [logits.numel]) }]
  }

  /** What all ranks know: the first one writes it. */
  private number(name: string, values: readonly number[]): Part[] {
    if (this.ranks.rank > 0) return []
    return [{ name, whole: [values.length], cut: null, shape: [values.length], from: 0, length: values.length, values: tensor(Float32Array.from(values)) }]
  }

  private values(parameters: readonly Trained[], kind: 'grad' | 'after', buffer: Tensor): Part[] {
    return parameters.flatMap(({ parameter, name }) => {
      const part = partOf(parameter, this.decoder.parameters, buffer, `${kind}.${name}`, this.ranks)
      return part === null ? [] : [{ ...part, values: ops.clone(part.values) }]
    })
  }

  private loss(hidden: Tensor, context: BlockContext): number {
    const { decoder, ranks: { place }, own: { rows: { batch: { targets } }, supervised, isEmpty } } = this
    const own = targets === undefined ? 0 : decoder.headLoss(hidden, targets, { scale: 0, gradient: false, context }).lossSum.item()
    return sumOver(this.ranks, [place.tp === 0 && place.pp === 0 && !isEmpty ? own : 0])[0] / supervised
  }

  /** Gradients afresh, and the loss. */
  private backwardOnce(): number {
    const { decoder, parallel, own: { trained: batch, supervised } } = this
    decoder.parameters.zeroGrad()
    const sums = (parallel ?? { walk: walkAll }).walk(decoder, batch === null ? [] : [batch], { scale: 1 / supervised })
    parallel?.reduce()
    return sumOver(this.ranks, [sums.lossSum])[0] / supervised
  }

  private train(losses: number[]): void {
    const { options: { steps, learningRate = 1e-3, weightDecay = 0 }, decoder } = this, { master, grad } = decoder.parameters.flat!
    const expAvg = ops.zeros_like(master), expAvgSq = ops.zeros_like(master), step = ops.zeros([], { dtype: 'float32', device: master.device })
    for (let n = 1; n <= steps!; n++) {
      fusedAdamW({ params: [master], grads: [grad], expAvgs: [expAvg], expAvgSqs: [expAvgSq], steps: [step], lr: learningRate, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay })
      decoder.weightsChanged()
      if (n < steps!) losses.push(this.backwardOnce())
    }
  }
}

interface Trained { readonly name: string; readonly parameter: NamedParameter }

/** What trains, under the names of its file. */
function trained(parameters: Parameters): Trained[] {
  return parameters.trainable().map((parameter) => ({ name: parameters.fileName(parameter.name), parameter }))
}

function chosen(parameters: Parameters, grads: 'all' | readonly string[]): Trained[] {
  const all = trained(parameters)
  if (grads === 'all') return all
  return grads.map((name) => {
    // A tied head has no weight of its own; its gradient is part of the embedding's.
    const tied = parameters.adapter === null && parameters.architecture.tiedHead && name === `${parameters.names.head}.weight`
    const found = all.find((p) => p.parameter.liveName === name || p.name === (tied ? parameters.fileName(`${parameters.names.embedding}.weight`) : name))
    if (found === undefined) throw unknownName('name of what trains for grads', name, all.map((p) => p.name))
    return { ...found, name }
  })
}

/** What the caller asked for excludes itself or the inputs. */
function refuse(field: string, expected: string, got: string): never {
  throw new PlanError('trace.option', `expected ${expected} for ${field}, got ${got}`, { field, expected, got })
}
