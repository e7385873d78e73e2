import { keep, noGrad, ops, scope, tensor, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Role } from '../models/architecture'
import { rowNorms } from '../models/blocks/lora-norms'
import type { LoraPart, LoraWeights, Weight } from '../models/blocks/types'
import { inType } from '../models/device'
import { FlatParameters, type FlatSpec } from '../models/flat'
import { linearSpecs } from '../models/layout'
import type { AttachedAdapter, NamedParameter, Parameters } from '../models/parameters'
import { takeCut, type Cut } from '../models/share'
import { Random } from '../models/random'
import { rankOf, scaleOf, type LoraConfig } from './lora-config'
import { changeOf, configOfChange, partsOfChange, principalPart, type Pair } from './pissa'
import { chooseTargets } from './targets'

/** A module that can be adapted; sizes are the whole model's. */
interface Module {
  /** Name in the checkpoint, such as `model.layers.0.self_attn.q_proj`. */
  readonly module: string
  /** Key of the joined linear layer that it is part of. */
  readonly key: string
  readonly layer: number
  readonly outFeatures: number
  readonly inFeatures: number
  readonly role: Role
}

/** What is adapted, and with which settings. */
interface Chosen extends Module { readonly rank: number; readonly scale: number }

/** One adapted module of this rank and where it lives. */
interface Site extends Chosen {
  readonly rowStart: number
  readonly rows: number
  readonly columns: number
  readonly cut: Cut | null
}

/**
 * Where the first values come from: a seed for a new adapter, or tensors by the names of `adapter_model.safetensors`.
 * `principal`: a new one begins as the principal part of each weight (PiSSA), or the tensors are what such a one was saved as.
 */
export type LoraSource = ({ readonly seed: number } | { readonly state: ReadonlyMap<string, Tensor> }) & { readonly principal?: boolean }

const prefix = 'base_model.model.'
const replicate: Role = { kind: 'replicate', unit: 1 }

/**
 * Puts a LoRA adapter (arXiv 2106.09685) on a model whose own weights are frozen. From then on only the adapter trains.
 * A is Kaiming-uniform with a = √5, B zero, or both are taken out of the weight, so that the model answers as before.
 * @throws ModelError `lora.target`, `lora.attached`, `lora.state`, `lora.principal`
 */
export function attachLora(parameters: Parameters, config: LoraConfig, source: LoraSource): LoraAdapter {
  if (parameters.flat !== null || parameters.adapter !== null) {
    throw new ModelError('lora.attached', 'expected a model whose weights are frozen and that has no adapter yet; load it with train: false, or merge the first adapter', {})
  }
  const adapter = new LoraAdapter(parameters, config)
  scope(() => {
    if (source.principal === true) adapter.split(source)
    else if ('state' in source) adapter.fill(source.state)
    else adapter.initialize(source.seed)
  })
  adapter.flat.sync()
  parameters.flat = adapter.flat
  parameters.adapter = adapter
  return adapter
}

/** Modules that can be adapted: all linear layers of the decoder, never embedding or head. */
export function linearModules(parameters: Parameters): string[] { return allModules(parameters).map(({ module }) => module) }

function allModules({ architecture, names }: Parameters): Module[] {
  return linearSpecs(architecture, names).flatMap(({ key, spec: { parts, inFeatures } }) =>
    parts.map(({ name, rows, role }): Module => ({ module: name, key, layer: layerOf(key, architecture.layers), outFeatures: rows, inFeatures, role })))
}

function layerOf(key: string, layers: number): number { return key === 'projectIn' ? -1 : key === 'projectOut' ? layers : Number(key.split('.')[0]) }

function chosenModules(parameters: Parameters, config: LoraConfig): Chosen[] {
  const all = allModules(parameters)
  const chosen = new Set(chooseTargets(config.targets, all.map(({ module }) => module)))
  return all.filter(({ module }) => chosen.has(module)).map((site) => ({ ...site, rank: rankOf(config, site.module), scale: scaleOf(config, site.module) }))
}

/** Those whose layer this rank holds, as it holds them. */
function sitesOf(chosen: readonly Chosen[], { layout }: Parameters): Site[] {
  return layout.flatMap(({ key, shape, parts }) => {
    let rowStart = 0
    return parts.flatMap(({ name, rows, cut }): Site[] => {
      const found = chosen.find(({ module, key: linear }) => key === `${linear}.weight` && name === `${module}.weight`), start = rowStart
      rowStart += rows
      return found === undefined ? [] : [{ ...found, rowStart: start, rows, columns: shape[1], cut }]
    })
  })
}

/** An attached adapter: names its weights, fuses them into the model, or goes. */
export class LoraAdapter implements AttachedAdapter {
  readonly flat: FlatParameters
  private readonly attached: { readonly site: Site; readonly lora: OwnLora; readonly part: LoraPart }[] = []
  private readonly chosen: readonly Chosen[]

  constructor(private readonly parameters: Parameters, readonly config: LoraConfig) {
    this.chosen = chosenModules(parameters, config)
    const linears = group(sitesOf(this.chosen, parameters))
    this.flat = new FlatParameters(linears.flatMap((linear) => specs(linear, config.decomposed)), parameters.dtype, parameters.device)
    let next = 0
    for (const linear of linears) {
      const a = this.flat.weights[next++]
      let rankStart = 0
      const parts = linear.map(({ rowStart, rows, rank, scale }): LoraPart => {
        const part = { rowStart, rows, rankStart, rank, scale, b: this.flat.weights[next++], magnitude: config.decomposed ? this.flat.weights[next++] : null }
        rankStart += rank
        return part
      })
      const lora: OwnLora = { a, parts, dropout: config.dropout, sumOverColumns: linear[0].role.kind === 'row' ? parameters.sumOverColumns : null }
      parameters.linear(linear[0].key).lora = lora
      linear.forEach((site, i) => this.attached.push({ site, lora, part: parts[i] }))
    }
  }

  /** Modules that the adapter changes. */
  get modules(): string[] { return this.chosen.map(({ module }) => module) }

  /** Modules that could be adapted in this model. */
  get adaptable(): string[] { return linearModules(this.parameters) }

  named(): NamedParameter[] {
    return this.attached.flatMap(({ site, lora, part }) => {
      const index = (weight: Weight): number => this.flat.startOf(this.flat.weights.indexOf(weight))
      const rows = (weight: Weight): Pick<NamedParameter, 'value' | 'master' | 'grad'> => {
        const cut = (t: Tensor | null): Tensor | null => t && ops.narrow(t, 0, part.rankStart, part.rank)
        return { value: cut(weight.value) as Tensor, master: cut(weight.master), grad: cut(weight.grad) }
      }
      const { role, layer, rank, inFeatures, outFeatures, cut } = site, base = `${prefix}${site.module}`, byRow = role.kind === 'row'
      // The side of the adapter that meets the cut side of its layer is cut with it; of the other each rank makes a part of the gradient.
      const side = (isCut: boolean): Pick<NamedParameter, 'role' | 'cut' | 'partial' | 'layer'> =>
        (isCut || cut === null ? { role: isCut ? role : replicate, cut: isCut ? cut : null, partial: null, layer } : { role: replicate, cut: null, partial: 'tensor', layer })
      const entries: NamedParameter[] = [
        { name: `${base}.lora_A.weight`, ...rows(lora.a), decay: true, whole: [rank, inFeatures], start: index(lora.a) + part.rankStart * site.columns, ...side(byRow) },
        { name: `${base}.lora_B.weight`, ...part.b, decay: true, whole: [outFeatures, rank], start: index(part.b), ...side(!byRow) },
      ]
      if (part.magnitude !== null) entries.push({ name: `${base}.lora_magnitude_vector`, ...part.magnitude, decay: false, whole: [outFeatures], start: index(part.magnitude), ...side(!byRow) })
      return entries
    })
  }

  shapes(): (readonly number[])[] {
    return this.chosen.flatMap(({ rank, inFeatures, outFeatures }) => [[rank, inFeatures], [outFeatures, rank], ...(this.config.decomposed ? [[outFeatures]] : [])])
  }

  /** fp32 values by the names of `adapter_model.safetensors`. Views: call inside a scope. */
  state(): Map<string, Tensor> { return new Map(this.named().map((p) => [p.name, p.master as Tensor])) }

  /** What is saved of it: values and config of a LoRA that fits the model as it came. Call inside a scope. */
  saved(): { readonly config: LoraConfig; readonly tensors: ReadonlyMap<string, Tensor> } {
    const tensors = this.state()
    if (this.attached.every(({ lora }) => lora.first === undefined)) return { config: this.config, tensors }
    for (const { site, lora, part } of this.attached) {
      const { a, b } = changeOf(pairOf(lora, part), pairOf(lora.first as LoraWeights, firstOf(lora, part)))
      tensors.set(`${prefix}${site.module}.lora_A.weight`, a)
      tensors.set(`${prefix}${site.module}.lora_B.weight`, b)
    }
    return { config: configOfChange(this.config), tensors }
  }

  /** Adds the adapter to the model's weights, in fp32 and rounded once, and takes it off. Make decoders after it, not before. */
  fuse(): void {
    this.addToWeights((lora, part) => ({ ...pairOf(lora, part), magnitude: part.magnitude && part.magnitude.master, scale: part.scale }))
    this.free()
  }

  /** Takes the adapter off and frees it; the model answers as before. */
  detach(): void {
    this.addFirst(1)
    this.free()
  }

  /** Frees it together with its model: what it took out of the weights is gone. */
  free(): void {
    for (const { site, lora: { first } } of this.attached) {
      for (const weight of first === undefined ? [] : [first.a, ...first.parts.map(({ b }) => b)]) weight.value.free()
      this.parameters.linear(site.key).lora = null
    }
    this.parameters.adapter = null
    this.parameters.flat = null
    this.flat.free()
  }

  /**
   * First values of an adapter that begins as a part of each weight, which is taken out of it; or of one that was saved after
   * it had begun so, and goes on.
   */
  split(source: LoraSource): void {
    const { share, hooks } = this.parameters
    if (share.tensor.count > 1 || !(share.first && share.last) || hooks !== null) throw new ModelError('lora.divided', 'PiSSA needs whole matrices, which are divided here between ranks; leave pissa out, or train on data-parallel ranks alone', {})
    const state = 'state' in source ? source.state : null, random = new Random('seed' in source ? source.seed : 0)
    for (const { site, lora, part } of this.attached) {
      scope(() => {
        const first = state === null ? this.principal(site, random) : partsOfChange(changeIn(state, site)).first
        // What is taken out is what a pass multiplies by, so that no more is lost than a rounding of the rest.
        put(pairOf(lora, part), { a: inType(first.a, this.parameters.dtype), b: inType(first.b, this.parameters.dtype) })
      })
    }
    for (const lora of new Set(this.attached.map((each) => each.lora))) {
      const frozen = ({ master }: Weight): Weight => ({ value: keep(ops.to(master as Tensor, { dtype: this.parameters.dtype, copy: true })), master: null, grad: null })
      lora.first = { a: frozen(lora.a), parts: lora.parts.map((part) => ({ ...part, b: frozen(part.b), magnitude: null })), dropout: 0, sumOverColumns: null }
    }
    this.addFirst(-1)
    for (const { site, lora, part } of this.attached) {
      if (state === null) this.measure(site, lora, part)
      else put(pairOf(lora, part), partsOfChange(changeIn(state, site)).now)
      if (state !== null && part.magnitude !== null) ops.copy_(part.magnitude.master as Tensor, state.get(`${prefix}${site.module}.lora_magnitude_vector`) as Tensor)
    }
  }

  /** First values from a file: every weight of the adapter must be there, in its shape. */
  fill(state: ReadonlyMap<string, Tensor>): void {
    for (const { name, master, whole, cut } of this.named()) {
      const found = state.get(name)
      if (found === undefined || found.shape.join() !== whole.join()) throw misfit(name, whole, found)
      ops.copy_(master as Tensor, takeCut(found, cut))
    }
  }

  /** First values of a new adapter: those of all ranks are drawn, so that they are the same however the model is divided. */
  initialize(seed: number): void {
    const random = new Random(seed), here = new Map(this.attached.map((entry) => [entry.site.module, entry]))
    for (const { module, rank, inFeatures, role } of this.chosen) {
      // Kaiming-uniform with a = √5: the bound is √(6 / ((1 + 5)·in)).
      const bound = 1 / Math.sqrt(inFeatures)
      const values = Float32Array.from({ length: rank * inFeatures }, () => (2 * random.uniform() - 1) * bound)
      const found = here.get(module)
      if (found === undefined) continue
      const { site, lora, part } = found
      ops.copy_(ops.narrow(lora.a.master as Tensor, 0, part.rankStart, part.rank), takeCut(tensor(values, [rank, inFeatures]), role.kind === 'row' ? site.cut : null))
      this.measure(site, lora, part)
    }
  }

  /** DoRA's lengths of rows begin as they are. */
  private measure(site: Site, lora: LoraWeights, part: LoraPart): void {
    if (part.magnitude === null) return
    this.parameters.hooks?.enter(site.layer)
    ops.copy_(part.magnitude.master as Tensor, rowNorms(this.rowsOf(site), lora.a.master as Tensor, part.b.master as Tensor, part, lora.sumOverColumns))
  }

  private principal(site: Site, random: Random): Pair {
    const { rank, rows, inFeatures, module } = site, most = Math.min(rows, inFeatures)
    if (rank > most) throw new ModelError('lora.principal', `expected a rank of at most ${most} for ${module}, whose weight is [${rows}, ${inFeatures}], got ${rank}; take a smaller rank, leave the module out by targets, or leave pissa out`, { module, rank, most })
    return principalPart(inType(this.rowsOf(site), 'float32'), rank, site.scale, random)
  }

  private rowsOf({ key, rowStart, rows }: Site): Tensor { return ops.narrow(this.parameters.linear(key).weight.value, 0, rowStart, rows) }

  /** Adds what the adapter began with to the weights (1), or takes it out of them (−1), where it began as a part of them. */
  private addFirst(sign: 1 | -1): void {
    if (this.attached.some(({ lora }) => lora.first !== undefined)) this.addToWeights((lora, part) => ({ ...pairOf(lora.first as LoraWeights, firstOf(lora, part)), magnitude: null, scale: sign * part.scale }))
  }

  /** Puts other weights in the place of the adapted ones, in fp32 and rounded once: what was read may be a mapped file. */
  private addToWeights(delta: (lora: LoraWeights, part: LoraPart) => Delta): void {
    for (const key of new Set(this.attached.map(({ site }) => site.key))) {
      this.parameters.replaceLinear(key, keep(noGrad(() => scope(() => {
        const merged = ops.clone(this.parameters.linear(key).weight.value)
        for (const { site, lora, part } of this.attached) {
          if (site.key !== key) continue
          const rows = ops.narrow(merged, 0, part.rowStart, part.rows)
          ops.copy_(rows, mergedRows(rows, delta(lora, part)))
        }
        return merged
      }))))
    }
  }
}

/** A LoRA as its adapter fills it. */
type OwnLora = LoraWeights & { first?: LoraWeights }

/** A part's A and B in fp32; masters where they train. Views of masters. */
function pairOf({ a }: LoraWeights, { rankStart, rank, b }: LoraPart): Pair {
  const wide = ({ value, master }: Weight): Tensor => master ?? inType(value, 'float32')
  return { a: ops.narrow(wide(a), 0, rankStart, rank), b: wide(b) }
}

function firstOf(lora: LoraWeights, part: LoraPart): LoraPart { return (lora.first as LoraWeights).parts[lora.parts.indexOf(part)] }

function put(target: Pair, { a, b }: Pair): void {
  ops.copy_(target.a, a)
  ops.copy_(target.b, b)
}

/** The change that an adapter that began as a part of the weights was saved as. */
function changeIn(state: ReadonlyMap<string, Tensor>, { module, rank, rows, inFeatures }: Site): Pair {
  const [a, b] = [['lora_A', [2 * rank, inFeatures]], ['lora_B', [rows, 2 * rank]]].map(([side, shape]) => {
    const name = `${prefix}${module}.${side}.weight`, found = state.get(name)
    if (found === undefined || found.shape.join() !== shape.toString()) throw misfit(name, shape as number[], found)
    return found
  })
  return { a, b }
}

function misfit(name: string, expected: readonly number[], found: Tensor | undefined): ModelError {
  return new ModelError('lora.state', `expected ${name} of shape [${expected.join(', ')}] in the adapter, got ${found === undefined ? 'nothing' : `[${found.shape.join(', ')}]`}; the adapter is of another model or rank`, { name, expected, shape: found?.shape ?? null })
}

/** Sites of one joined linear layer together, in the order of their rows. */
function group(chosen: readonly Site[]): Site[][] {
  const linears = new Map<string, Site[]>()
  for (const site of chosen) linears.set(site.key, [...(linears.get(site.key) ?? []), site])
  return [...linears.values()]
}

function specs(linear: readonly Site[], decomposed: boolean): FlatSpec[] {
  const rank = linear.reduce((sum, site) => sum + site.rank, 0)
  return [
    { shape: [rank, linear[0].columns], decay: true, layer: linear[0].layer },
    ...linear.flatMap((site): FlatSpec[] => [{ shape: [site.rows, site.rank], decay: true, fast: true, layer: site.layer }, ...(decomposed ? [{ shape: [site.rows], decay: false, fast: true, layer: site.layer }] : [])]),
  ]
}

/** What an adapter adds to a weight. */
export interface Delta extends Pair { readonly magnitude: Tensor | null; readonly scale: number }

/**
 * W + s·BA in fp32; DoRA then scales each row to its magnitude (arXiv 2106.09685, 2402.09353).
 * @param weight [rows, in] in any number type; a [rank, in], b [rows, rank], magnitude [rows] in fp32
 */
export function mergedRows(weight: Tensor, { a, b, magnitude, scale }: Delta): Tensor {
  const wide = ops.add(inType(weight, 'float32'), ops.mm(b, a), { alpha: scale })
  return magnitude === null ? wide : ops.mul(wide, ops.unsqueeze(ops.div(magnitude, ops.linalg_vector_norm(wide, 2, 1)), 1))
}
