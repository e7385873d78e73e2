import { ops, tensor, type DType, type Tensor } from 'fettle-native'
import type { Architecture } from './architecture'
import type { Batch, CachedAttention, MaskedAttention } from './batch'
import type { LocalShape } from './share'
import type { ScoreBias, ScoreBiases, ScoreRule } from './blocks/types'
import { inType, onDevice } from './device'

/** The additions to attention scores of packed rows as numbers; `null`: this batch needs biases. */
export function scoreRule(architecture: Architecture, own: Pick<LocalShape, 'heads' | 'headStart'>, { attention, prefixes, ids: { device } }: Batch): ScoreRule | null {
  const { window } = architecture
  const whole = attention.kind === 'packed' || (attention.kind === 'cached' && attention.mask === null)
  if (!whole || (window !== null && prefixes !== undefined)) return null
  return { slopes: slopesOf(architecture, own, device), window: window?.size ?? null, seen: prefixes ?? null }
}

/** fp32 `[heads]` of this rank; `null`: no ALiBi. */
function slopesOf({ heads, positions }: Architecture, own: Pick<LocalShape, 'heads' | 'headStart'>, device: string): Tensor | null {
  if (positions.kind !== 'alibi') return null
  return onDevice(tensor(Float32Array.from(alibiSlopes(heads).slice(own.headStart, own.headStart + own.heads)), [own.heads]), device)
}

/**
 * Makes a batch's additions to attention scores, once for all layers: the slopes of ALiBi, windows, prompts that are
 * seen whole, and the masks of padded and cached batches. `null` where a sequence is causal and nothing else, so that
 * kernels which know only that can run.
 * @param own which heads they are for
 * @param before places of a trained prefix, which stand at −before … −1 in front of each sequence
 */
export function scoreBiases(architecture: Architecture, own: Pick<LocalShape, 'heads' | 'headStart'>, batch: Batch, dtype: DType, before = 0): ScoreBiases {
  const { window } = architecture, of = (size: number | null): ScoreBias => new Scores(architecture, own, batch, dtype, size, before).bias()
  const windowed = window !== null && window.layers.some((has) => has)
  return { full: windowed && window.layers.every((has) => has) ? null : of(null), windowed: windowed ? of(window.size) : null }
}

class Scores {
  private readonly device: string
  /** fp32 `[1, heads, 1, 1]` */
  private readonly slopes: Tensor | null

  constructor(architecture: Architecture, own: Pick<LocalShape, 'heads' | 'headStart'>, private readonly batch: Batch, private readonly dtype: DType, private readonly window: number | null, private readonly before: number) {
    this.device = batch.ids.device
    const slopes = slopesOf(architecture, own, this.device)
    this.slopes = slopes && ops.view(slopes, [1, own.heads, 1, 1])
  }

  bias(): ScoreBias {
    const { attention } = this.batch
    if (attention.kind === 'masked') return this.masked(attention)
    return attention.kind === 'cached' && attention.mask !== null ? this.nextToken(attention, attention.mask) : this.packed(attention.offsets)
  }

  private packed(offsets: readonly number[]): ScoreBias {
    const lengths = offsets.slice(1).map((end, i) => end - offsets[i]), longest = Math.max(...lengths), { prefixes } = this.batch
    if (prefixes !== undefined) return lengths.map((length, i) => this.sequence(length, prefixes[i]))
    const plain = this.slopes === null && (this.window === null || this.before + longest <= this.window)
    return plain ? null : this.sequence(longest, 0)
  }

  /** One sequence: `[1, heads or 1, length, length]`. */
  private sequence(length: number, prefix: number): Tensor {
    const queries = ops.view(this.range(length), [1, 1, length, 1]), keys = ops.view(this.range(length, -this.before), [1, 1, 1, this.before + length])
    const causal = this.seen(queries, keys)
    return this.added(prefix > 0 ? ops.logical_or(causal, ops.lt(keys, prefix)) : causal, queries, keys, -Infinity)
  }

  /** One more token for each row of a cache. */
  private nextToken({ slots }: CachedAttention, mask: Tensor): Tensor {
    const [rows, , , longest] = mask.shape
    const queries = ops.view(slots.columns, [rows, 1, 1, 1]), keys = ops.view(this.range(longest), [1, 1, 1, longest])
    return this.added(ops.logical_and(mask, this.seen(queries, keys)), queries, keys, -Infinity)
  }

  /** The mask says what is seen, padding too; positions count real tokens only, as distances should. */
  private masked({ rows, length, mask }: MaskedAttention): Tensor {
    const positions = ops.view(this.batch.positions, [rows, length]), front = this.range(0, -this.before)
    const open = this.before === 0 ? mask : ops.cat([ops.ones([rows, 1, length, this.before], { dtype: 'bool', device: this.device }), mask], 3)
    const seen = this.window === null ? open : ops.logical_and(open, this.seen(ops.view(this.range(length), [1, 1, length, 1]), ops.view(this.range(length, -this.before), [1, 1, 1, this.before + length])))
    const keys = this.before === 0 ? positions : ops.cat([ops.expand(front, [rows, this.before]), positions], 1)
    // A finite lowest value instead of −∞: a padding row that sees nothing gives a mean, not NaN, as the references do.
    const lowest = this.dtype === 'float16' ? -65504 : -3.3e38
    const bias = this.added(seen, ops.view(positions, [rows, 1, length, 1]), ops.view(keys, [rows, 1, 1, this.before + length]), lowest)
    return bias.dtype === 'bool' ? ops.where_scalar(bias, ops.zeros(bias.shape, { dtype: this.dtype, device: this.device }), lowest) : bias
  }

  private seen(queries: Tensor, keys: Tensor): Tensor {
    const past = ops.le(keys, queries)
    return this.window === null ? past : ops.logical_and(past, ops.gt(keys, ops.sub(queries, this.window)))
  }

  /** ALiBi as slope × (key − query): of the same softmax as slope × key, and exact near the query in bf16 too. */
  private added(seen: Tensor, queries: Tensor, keys: Tensor, hidden: number): Tensor {
    if (this.slopes === null) return seen
    const bias = ops.mul(this.slopes, inType(ops.sub(keys, queries), 'float32'))
    return inType(ops.masked_fill_(bias, ops.logical_not(seen), hidden), this.dtype)
  }

  private range(end: number, start = 0): Tensor { return ops.arange(start, end, 1, { dtype: 'int64', device: this.device }) }
}

/**
 * Slopes of ALiBi (arXiv 2108.12409): 2^(−8i/p) for i = 1..p, where p is the power of two up to the number of heads; the
 * heads beyond take every other slope of 2p heads.
 */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads))
  const first = Array.from({ length: power }, (_, i) => 2 ** ((-8 * (i + 1)) / power))
  return [...first, ...Array.from({ length: heads - power }, (_, j) => 2 ** ((-4 * (2 * j + 1)) / power))]
}
