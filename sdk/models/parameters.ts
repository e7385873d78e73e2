import { ops, type Device, type DType, type Tensor } from 'fettle-native'
import type { Architecture, NameMap, Role } from './architecture'
import type { HeadNormWeights, HeadWeights, LinearWeights, LoraWeights, NormWeights, PrefixWeights, Weight } from './blocks/types'
import { elements, type TrainedValues } from './flat'
import { layersOf, linearSpecs, storedWeights, type LinearPlace, type PartialGradient, type StoredWeight } from './layout'
import { localShape, wholeShare, type Cut, type LocalShape, type Share } from './share'

/** A weight under the name that files give it. Tensors are views of the stored weight: writing them writes the model. */
export interface NamedParameter {
  readonly name: string
  readonly value: Tensor
  /** fp32; `null`: frozen. */
  readonly master: Tensor | null
  readonly grad: Tensor | null
  readonly decay: boolean
  readonly role: Role
  /** Shape of all of it, in its file. */
  readonly whole: readonly number[]
  /** What this rank holds of it; `null`: all. */
  readonly cut: Cut | null
  readonly partial: PartialGradient
  /** The layer that it belongs to; −1: before them, `layers`: behind. */
  readonly layer: number
  /** Where it begins among all values that train. */
  readonly start: number
  /** What the library of its file calls it while it trains, where that is another name. */
  readonly liveName?: string
}

/** A linear layer whose adapter may be attached, taken off, or merged into its weight. */
export type AdaptableLinear = Omit<LinearWeights, 'lora' | 'weight'> & { lora: LoraWeights | null; weight: Weight }

export interface LayerWeights extends Record<LinearPlace, AdaptableLinear> {
  readonly inputNorm: NormWeights
  readonly queryKeyNorm: HeadNormWeights | null
  readonly postNorm: NormWeights
  /** Norms of what attention and MLP give, where the order has them. */
  readonly outNorm: NormWeights | null
  readonly downNorm: NormWeights | null
}

/** What an adapter shows of itself to those who save, step and trace. */
export interface AttachedAdapter {
  /** Under the names of the adapter's own file. Views: call inside a scope. */
  named(): NamedParameter[]
  /** Of all that trains, on whatever rank. */
  shapes(): (readonly number[])[]
  /** Keys and values that it puts before each sequence. */
  readonly prefix?: PrefixWeights
  /** Follows the masters, as compute copies do. */
  sync?(): void
  /** Forgets gradients that it holds beside the flat ones. */
  zeroGrad?(): void
  /** The layers of a micro-batch have added their gradients: those held beside the flat ones go there. */
  collect?(): void
  free(): void
}

/** What surrounds a layer's passes where ranks divide its weights or reduce its gradients. */
export interface LayerHooks {
  /** Before a layer's forward or backward: its weights must be there. */
  enter(layer: number): void
  /** Behind a layer's backward: its gradients are whole for this micro-batch. */
  done(layer: number): void
}

/** All weights of a model, joined as the decoder reads them and named as the checkpoint names them. */
export class Parameters {
  readonly embedding: Weight
  /** A row for each position, where they are learned. */
  readonly positions: Weight | null
  readonly embeddingNorm: NormWeights | null
  /** From the embedding's width to the hidden size, and back before the head, where they differ. */
  readonly projectIn: AdaptableLinear | null
  readonly projectOut: AdaptableLinear | null
  /** By number; those of other ranks are not there. */
  readonly layers: readonly LayerWeights[]
  readonly finalNorm: NormWeights | null
  readonly head: HeadWeights
  /** Set while an adapter is attached; then only the adapter trains. */
  adapter: AttachedAdapter | null = null
  /** Set where weights are made whole as a layer runs, or ranks reduce its gradients. */
  hooks: LayerHooks | null = null
  /** What holds frozen weights that are not whole: layers take turns in the memory of theirs. */
  held: { free(): void } | null = null
  /** Sums a tensor over the tensor ranks, *in place*: what needs whole rows of a matrix whose columns are cut (DoRA). */
  sumOverColumns: ((tensor: Tensor) => void) | null = null
  /** Heads and widths of this rank. */
  readonly local: LocalShape
  readonly layout: readonly StoredWeight[]
  private readonly linears: ReadonlyMap<string, AdaptableLinear>

  /**
   * @param weights by the keys of `storedWeights`
   * @param flat buffers of what trains; `null`: nothing does
   * @param fileNames what the checkpoint calls a weight, where it differs or not
   * @param copies weights that the checkpoint holds once more, under other names: a tied head, by the name of its twin
   * @param share what this rank holds
   */
  constructor(
    readonly architecture: Architecture, readonly names: NameMap, private readonly weights: Map<string, Weight>,
    public flat: TrainedValues | null, readonly dtype: DType, readonly device: Device,
    readonly fileNames: ReadonlyMap<string, string> = new Map(), readonly copies: ReadonlyMap<string, string> = new Map(),
    readonly share: Share = wholeShare(architecture),
  ) {
    const a = architecture
    this.local = localShape(a, share)
    this.layout = storedWeights(a, names, share)
    this.linears = new Map(linearSpecs(a, names, share).map(({ key, spec }) => [key, this.adaptable(key, spec.bias)]))
    this.embedding = this.weight('embedding')
    this.positions = share.first && a.positions.kind === 'learned' ? this.weight('positions') : null
    this.embeddingNorm = share.first && a.embedding.norm ? this.norm('embeddingNorm') : null
    this.projectIn = this.linears.get('projectIn') ?? null
    this.projectOut = this.linears.get('projectOut') ?? null
    this.layers = Object.assign([], Object.fromEntries(layersOf(share).map((i) => [i, this.layer(i)])))
    this.finalNorm = share.last && a.finalNorm ? this.norm('finalNorm') : null
    this.head = { weight: architecture.tiedHead ? this.embedding : this.weight('head') }
  }

  /** All weights that this rank holds of the model itself, adapters not included. Views: call inside a scope. */
  named(): NamedParameter[] {
    return this.layout.flatMap((stored, i) => {
      const weight = this.weight(stored.key), first = weight.grad === null ? 0 : this.flat!.startOf(i), width = elements(stored.shape.slice(1))
      let start = 0
      return stored.parts.map(({ name, rows, role, whole, cut }) => {
        const part = (joined: Tensor | null): Tensor | null => joined && ops.narrow(joined, 0, start, rows)
        const entry = { name, value: part(weight.value) as Tensor, master: part(weight.master), grad: part(weight.grad), decay: stored.decay, role, whole, cut, partial: stored.partial, layer: stored.layer, start: first + start * width }
        start += rows
        return entry
      })
    })
  }

  /** What trains, under the names it is saved by: the adapter's when there is one, else the model's. Views: call inside a scope. */
  trainable(): NamedParameter[] {
    return this.adapter !== null ? this.adapter.named() : this.named().filter((p) => p.grad !== null)
  }

  /** All weights as the checkpoint holds them: under its names, and twice what it holds twice. Views: call inside a scope. */
  fileWeights(): Map<string, Tensor> {
    const all = new Map(this.named().map(({ name, value }) => [this.fileName(name), value]))
    for (const [copy, of] of this.copies) all.set(copy, all.get(this.fileName(of)) as Tensor)
    return all
  }

  /** A linear layer by its key in `linearSpecs`. */
  linear(key: string): AdaptableLinear { return this.linears.get(key) as AdaptableLinear }

  /** Puts another frozen value in place of a linear layer's: what was read may be a mapped file, which is never written. */
  replaceLinear(key: string, value: Tensor): void {
    const weight: Weight = { value, master: null, grad: null }, linear = this.linear(key)
    linear.weight.value.free()
    linear.weight = weight
    this.weights.set(`${key}.weight`, weight)
  }

  /** The name that the checkpoint gives a weight; adapters' names stay as they are. */
  fileName(name: string): string { return this.fileNames.get(name) ?? name }

  /** A stored weight by its key in `storedWeights`. */
  stored(key: string): Weight { return this.weight(key) }

  zeroGrad(): void { this.flat?.zeroGrad(); this.adapter?.zeroGrad?.() }

  /** Brings compute copies up to the masters. Decoders also need `weightsChanged()`. */
  sync(): void { this.flat?.sync(); this.adapter?.sync?.() }

  free(): void {
    this.adapter?.free()
    for (const { value, master, grad } of this.weights.values()) { value.free(); master?.free(); grad?.free() }
    this.flat?.free()
    this.held?.free()
  }

  private weight(key: string): Weight { return this.weights.get(key) as Weight }

  private norm(key: string): NormWeights {
    const { kind, eps, bias, offset } = this.architecture.norm
    return { kind, eps, offset, weight: this.weight(`${key}.weight`), bias: bias ? this.weight(`${key}.bias`) : null }
  }

  private adaptable(key: string, bias: boolean): AdaptableLinear {
    const [outFeatures, inFeatures] = this.layout.find((stored) => stored.key === `${key}.weight`)!.shape
    return { inFeatures, outFeatures, weight: this.weight(`${key}.weight`), bias: bias ? this.weight(`${key}.bias`) : null, lora: null }
  }

  private layer(index: number): LayerWeights {
    const linear = (place: LinearPlace): AdaptableLinear => this.linear(`${index}.${place}`)
    const outer = (place: string): NormWeights | null => (this.architecture.order.norm === 'both' ? this.norm(`${index}.${place}`) : null)
    return {
      inputNorm: this.norm(`${index}.inputNorm`), qkv: linear('qkv'), out: linear('out'),
      queryKeyNorm: this.architecture.queryKeyNorm ? { query: this.norm(`${index}.queryNorm`), key: this.norm(`${index}.keyNorm`) } : null,
      postNorm: this.norm(`${index}.postNorm`), outNorm: outer('outNorm'), downNorm: outer('downNorm'), up: linear('up'), down: linear('down'),
    }
  }
}
