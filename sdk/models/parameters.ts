import { ops, type Device, type DType, type Tensor } from 'fettle-native'
import type { Architecture, NameMap, Role } from './architecture'
import type { HeadWeights, LinearWeights, LoraWeights, NormWeights, Weight } from './blocks/types'
import type { FlatParameters } from './flat'
import { outFeatures, storedWeights, type LinearPlace, type StoredWeight } from './layout'

/** A weight under the name that files give it. Tensors are views of the stored weight: writing them writes the model. */
export interface NamedParameter {
  readonly name: string
  readonly value: Tensor
  /** fp32; `null`: frozen. */
  readonly master: Tensor | null
  readonly grad: Tensor | null
  readonly decay: boolean
  readonly role: Role
}

/** A linear layer whose adapter may be attached, taken off, or merged into its weight. */
export type AdaptableLinear = Omit<LinearWeights, 'lora' | 'weight'> & { lora: LoraWeights | null; weight: Weight }

export interface LayerWeights extends Record<LinearPlace, AdaptableLinear> {
  readonly inputNorm: NormWeights
  readonly postNorm: NormWeights
}

/** What an adapter shows of itself to those who save, step and trace. */
export interface AttachedAdapter {
  /** Under the names of the adapter's own file. Views: call inside a scope. */
  named(): NamedParameter[]
  free(): void
}

/** All weights of a model, joined as the decoder reads them and named as the checkpoint names them. */
export class Parameters {
  readonly embedding: Weight
  readonly layers: readonly LayerWeights[]
  readonly finalNorm: NormWeights
  readonly head: HeadWeights
  /** Set while an adapter is attached; then only the adapter trains. */
  adapter: AttachedAdapter | null = null
  private readonly layout: readonly StoredWeight[]

  /**
   * @param weights by the keys of `storedWeights`
   * @param flat buffers of what trains; `null`: nothing does
   * @param fileNames what the checkpoint calls a weight, where it differs or not
   */
  constructor(
    readonly architecture: Architecture, readonly names: NameMap, private readonly weights: Map<string, Weight>,
    public flat: FlatParameters | null, readonly dtype: DType, readonly device: Device,
    readonly fileNames: ReadonlyMap<string, string> = new Map(),
  ) {
    this.layout = storedWeights(architecture, names)
    this.embedding = this.weight('embedding')
    this.layers = Array.from({ length: architecture.layers }, (_, i) => this.layer(i))
    this.finalNorm = this.norm('finalNorm')
    this.head = { weight: architecture.tiedHead ? this.embedding : this.weight('head') }
  }

  /** All weights of the model itself, adapters not included. Views: call inside a scope. */
  named(): NamedParameter[] {
    return this.layout.flatMap((stored) => {
      const weight = this.weight(stored.key)
      let start = 0
      return stored.parts.map(({ name, rows, role }) => {
        const part = (whole: Tensor | null): Tensor | null => whole && ops.narrow(whole, 0, start, rows)
        const entry = { name, value: part(weight.value) as Tensor, master: part(weight.master), grad: part(weight.grad), decay: stored.decay, role }
        start += rows
        return entry
      })
    })
  }

  /** What trains, under the names it is saved by: the adapter's when there is one, else the model's. Views: call inside a scope. */
  trainable(): NamedParameter[] {
    return this.adapter !== null ? this.adapter.named() : this.named().filter((p) => p.master !== null)
  }

  /** Puts another frozen value in place of a linear layer's: what was read may be a mapped file, which is never written. */
  replaceLinear(layer: number, place: LinearPlace, value: Tensor): void {
    const weight: Weight = { value, master: null, grad: null }
    this.layers[layer][place].weight.value.free()
    this.layers[layer][place].weight = weight
    this.weights.set(`${layer}.${place}.weight`, weight)
  }

  /** The name that the checkpoint gives a weight; adapters' names stay as they are. */
  fileName(name: string): string { return this.fileNames.get(name) ?? name }

  /** A stored weight by its key in `storedWeights`. */
  stored(key: string): Weight { return this.weight(key) }

  zeroGrad(): void { this.flat?.zeroGrad() }

  /** Brings compute copies up to the masters. Decoders also need `weightsChanged()`. */
  sync(): void { this.flat?.sync() }

  free(): void {
    this.adapter?.free()
    for (const { value, master, grad } of this.weights.values()) { value.free(); master?.free(); grad?.free() }
    this.flat?.free()
  }

  private weight(key: string): Weight { return this.weights.get(key) as Weight }

  private norm(key: string): NormWeights {
    const { kind, eps, bias } = this.architecture.norm
    return { kind, eps, weight: this.weight(`${key}.weight`), bias: bias ? this.weight(`${key}.bias`) : null }
  }

  private layer(index: number): LayerWeights {
    const spec = this.names.layer(index)
    const linear = (place: LinearPlace): AdaptableLinear => ({
      inFeatures: spec[place].inFeatures, outFeatures: outFeatures(spec[place]), weight: this.weight(`${index}.${place}.weight`),
      bias: spec[place].bias ? this.weight(`${index}.${place}.bias`) : null, lora: null,
    })
    return {
      inputNorm: this.norm(`${index}.inputNorm`), qkv: linear('qkv'), out: linear('out'),
      postNorm: this.norm(`${index}.postNorm`), up: linear('up'), down: linear('down'),
    }
  }
}
