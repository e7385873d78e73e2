import { keep, ops, scope, tensor, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Role } from '../models/architecture'
import type { PrefixWeights, Weight } from '../models/blocks/types'
import { FlatParameters } from '../models/flat'
import type { AttachedAdapter, NamedParameter, Parameters } from '../models/parameters'
import { Random } from '../models/random'
import { liveName, prefixShape, prefixWeights, type PrefixConfig } from './prefix-config'

/** Where the first values come from: a seed for a new prefix, or tensors by the names of `prefixWeights`. */
export type PrefixSource = { readonly seed: number } | { readonly state: ReadonlyMap<string, Tensor> }

/**
 * Puts trained keys and values before every sequence of a model whose own weights are frozen (prefix tuning,
 * arXiv 2101.00190). From then on only they train, or the small network that makes them.
 * New ones start as in PEFT: embeddings normal(0, 1), linear layers uniform within 1 / √in.
 * @throws ModelError `prefix.attached`, `prefix.state`
 */
export function attachPrefix(parameters: Parameters, config: PrefixConfig, source: PrefixSource): PrefixAdapter {
  if (parameters.flat !== null || parameters.adapter !== null) {
    throw new ModelError('prefix.attached', 'expected a model whose weights are frozen and that has no adapter yet; load it with train: false, or take the first adapter off', {})
  }
  const adapter = new PrefixAdapter(parameters, config)
  try {
    scope(() => { if ('state' in source) adapter.fill(source.state); else adapter.initialize(source.seed) })
  } catch (error) {
    adapter.free()
    throw error
  }
  parameters.flat = adapter.flat
  parameters.adapter = adapter
  parameters.sync()
  return adapter
}

/** An attached prefix: names what trains, and keeps the keys and values that the layers read. */
export class PrefixAdapter implements AttachedAdapter {
  readonly flat: FlatParameters
  readonly prefix: PrefixWeights
  private readonly specs: ReturnType<typeof prefixWeights>
  /** Keys and values of all heads; `prefix` shows those of this rank's. */
  private readonly past: Weight

  constructor(private readonly parameters: Parameters, readonly config: PrefixConfig) {
    const { architecture, dtype, device } = parameters, shape = prefixShape(architecture, config.tokens)
    this.specs = prefixWeights(architecture, config)
    this.flat = new FlatParameters(this.specs, dtype, device)
    const shaped = (whole: Tensor): Tensor => keep(scope(() => ops.view(whole, shape)))
    const [own] = this.flat.weights
    this.past = config.hidden === null
      ? { value: shaped(own.value), master: shaped(own.master as Tensor), grad: shaped(own.grad as Tensor) }
      : { value: keep(ops.zeros(shape, { dtype, device })), master: null, grad: keep(ops.zeros(shape, { dtype: 'float32', device })) }
    const { kvStart, kvHeads } = parameters.local, heads = (whole: Tensor): Tensor => keep(ops.narrow(whole, 2, kvStart, kvHeads))
    this.prefix = { tokens: config.tokens, past: { value: heads(this.past.value), master: null, grad: heads(this.past.grad as Tensor) } }
  }

  named(): NamedParameter[] {
    const replicate: Role = { kind: 'replicate', unit: 1 }, { share } = this.parameters
    // Each rank makes the gradient of its own heads and layers.
    const partial = share.tensor.count > 1 || !(share.first && share.last) ? 'model' : null
    return this.specs.map(({ name, decay, shape }, i) => ({ name, ...this.flat.weights[i], decay, role: replicate, whole: shape, cut: null, partial, layer: -1, start: this.flat.startOf(i), liveName: liveName(name) }))
  }

  shapes(): (readonly number[])[] { return this.specs.map(({ shape }) => shape) }

  /** fp32 values of what trains. Views: call inside a scope. */
  state(): Map<string, Tensor> { return new Map(this.named().map(({ name, master }) => [name, master as Tensor])) }

  /** All keys and values, fp32 `[tokens, 2 · layers · kvHeads · headDim]`: what PEFT saves. Call inside a scope. */
  embeddings(): Tensor { return this.config.hidden === null ? this.master(0) : this.encode().out }

  /** The keys and values follow what makes them. */
  sync(): void { if (this.config.hidden !== null) scope(() => ops.copy_(this.past.value, ops.view(this.encode().out, this.past.value.shape))) }

  zeroGrad(): void { if (this.config.hidden !== null) ops.zero_(this.past.grad as Tensor) }

  /** Hands the gradient of the keys and values, which all layers have added to, on to what makes them. */
  collect(): void {
    if (this.config.hidden === null) return
    scope(() => {
      const { embedding, middle } = this.encode(), [gEmbedding, gFirst, gFirstBias, gLast, gLastBias] = this.flat.weights.map((weight) => weight.grad as Tensor)
      const gOut = ops.view(this.past.grad as Tensor, [this.config.tokens, gLastBias.shape[0]])
      ops.add_(gLast, ops.mm(ops.t(gOut), middle))
      ops.add_(gLastBias, ops.mv(ops.t(gOut), ops.ones([this.config.tokens], { dtype: 'float32', device: gOut.device })))
      const gMiddle = ops.mul(ops.mm(gOut, this.master(3)), ops.sub(ops.ones_like(middle), ops.mul(middle, middle)))
      ops.add_(gFirst, ops.mm(ops.t(gMiddle), embedding))
      ops.add_(gFirstBias, ops.mv(ops.t(gMiddle), ops.ones([this.config.tokens], { dtype: 'float32', device: gOut.device })))
      ops.add_(gEmbedding, ops.mm(gMiddle, this.master(1)))
    })
    this.zeroGrad()
  }

  /** Takes the prefix off and frees it; the model answers as before. */
  detach(): void {
    if (this.parameters.adapter === this) {
      this.parameters.adapter = null
      this.parameters.flat = null
    }
    for (const { value, master, grad } of [this.prefix.past, this.past]) for (const each of [value, master, grad]) each?.free()
    this.flat.free()
  }

  free(): void { this.detach() }

  /** @throws ModelError `prefix.state` when a value is missing or of another shape */
  fill(state: ReadonlyMap<string, Tensor>): void {
    for (const { name, master } of this.named()) {
      const found = state.get(name), { shape } = master as Tensor
      if (found === undefined || found.shape.join() !== shape.join()) {
        throw new ModelError('prefix.state', `expected ${name} of shape [${shape.join(', ')}] in the prefix, got ${found === undefined ? 'nothing' : `[${found.shape.join(', ')}]`}; the prefix is of another model or has another number of tokens`, { name, expected: shape, shape: found?.shape ?? null })
      }
      ops.copy_(master as Tensor, found)
    }
  }

  /** First values of a new prefix. */
  initialize(seed: number): void {
    const random = new Random(seed)
    for (const { name, master } of this.named()) {
      const target = master as Tensor
      // A bias is bounded as its weight: by the layer's inputs.
      const bound = 1 / Math.sqrt(name.includes('transform.2') ? this.config.hidden as number : this.specs[0].shape[1])
      const draw = name.includes('transform') ? () => (2 * random.uniform() - 1) * bound : () => random.normal()
      ops.copy_(target, tensor(Float32Array.from({ length: target.numel }, draw), target.shape))
    }
  }

  /** embedding → Linear → tanh → Linear, in fp32. */
  private encode(): { embedding: Tensor; middle: Tensor; out: Tensor } {
    const embedding = this.master(0), middle = ops.tanh(ops.linear(embedding, this.master(1), this.master(2)))
    return { embedding, middle, out: ops.linear(middle, this.master(3), this.master(4)) }
  }

  private master(index: number): Tensor { return (this.flat.weights[index] as Weight).master as Tensor }
}
