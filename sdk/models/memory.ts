import type { Architecture } from './architecture'

/** The batch of a step, as memory sees it. */
export interface StepSize {
  readonly tokens: number
  /** Tokens of its longest sequence. */
  readonly longest: number
  /** Of an activation: 2 in bf16, 4 in fp32. */
  readonly bytesPerValue: number
  /** `attention`: of each layer's attention half alone. */
  readonly recompute: boolean | 'attention'
  /** A trained prefix: its places, and the sequences that each see it. */
  readonly prefix?: { readonly places: number; readonly sequences: number }
}

/**
 * Bytes that a step takes at least, beside weights and optimizer: what the backward needs of every layer (with recompute:
 * of two layers, and the inputs of the others), and what the record adds to attention scores. Fused blocks take a tenth
 * more than this, plain ones two or three times as much.
 */
export function stepMemory(a: Architecture, { tokens, longest, bytesPerValue, recompute, prefix = { places: 0, sequences: 0 } }: StepSize): number {
  const qkv = (a.heads + 2 * a.kvHeads) * a.headDim
  const attention = a.hiddenSize + qkv + a.heads * a.headDim, mlp = a.hiddenSize + (a.mlp.kind === 'gated' ? 2 : 1) * a.intermediateSize, layer = attention + mlp
  const kept = recompute === true ? 2 * layer + a.layers * a.hiddenSize : recompute === 'attention' ? 2 * attention + a.layers * (mlp + a.hiddenSize) : a.layers * layer
  // Behind a prefix each sequence's queries, keys and values are put together anew in each layer, and what they give.
  const joined = prefix.places === 0 ? 0 : (recompute ? 1 : a.layers) * (tokens + prefix.sequences * prefix.places) * (qkv + a.heads * a.headDim)
  return (tokens * kept + joined) * bytesPerValue + scoreMemory(a, longest, longest + prefix.places, bytesPerValue)
}

/** ALiBi is a number for each head and pair of tokens, windows, prompts and prefixes a mask; made once for all layers. */
function scoreMemory(a: Architecture, longest: number, keys: number, bytesPerValue: number): number {
  if (a.positions.kind === 'alibi') return a.heads * longest * keys * (4 + (bytesPerValue === 4 ? 0 : bytesPerValue))
  const masked = keys > longest || a.prompt !== null || (a.window !== null && longest > a.window.size)
  return masked ? longest * keys : 0
}

/** What decides the memory of a whole run. */
export interface RunSize extends StepSize {
  /** Values of the model. */
  readonly parameters: number
  /** Values that train: all of them, or an adapter's, which come on top. */
  readonly trainable: number
  readonly adapter: boolean
}

/**
 * Bytes of a run: weights in the type that it computes in, and of what trains fp32 master, gradient and two moments, and a
 * copy in the computing type where that is another; then a step.
 */
export function runMemory(a: Architecture, size: RunSize): number {
  const { parameters, trainable, adapter, bytesPerValue } = size
  const frozen = adapter ? parameters * bytesPerValue : 0, copy = bytesPerValue === 4 ? 0 : bytesPerValue
  return frozen + trainable * (16 + copy) + stepMemory(a, size)
}
