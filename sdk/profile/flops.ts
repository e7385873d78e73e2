import type { BlockContext, HeadShape, HeadWeights, LinearWeights } from '../models/blocks/types'

/** Floating-point operations of matrix products; a multiply and an add are two. */

/** A linear layer with its adapter over so many rows. The backward makes the gradient of the input, and of what trains. */
export function linearFlops({ inFeatures, outFeatures, weight, lora }: LinearWeights, rows: number, pass: 'forward' | 'backward'): number {
  const own = 2 * rows * inFeatures * outFeatures
  const adapter = lora === null ? 0 : lora.parts.reduce((sum, part) => sum + 2 * rows * part.rank * (inFeatures + part.rows), 0)
  return pass === 'forward' ? own + adapter : own * (weight.grad === null ? 1 : 2) + adapter * (lora?.a.grad == null ? 1 : 2)
}

/**
 * Scores and weighted values of attention. Pairs of tokens are counted as far as they see each other, causally, or all where a mask says
 * which do. The backward has five products where the forward has two, scores being made again (FlashAttention-2, arXiv 2307.08691).
 */
export function attentionFlops({ heads, headDim, windowed }: HeadShape, context: BlockContext, pass: 'forward' | 'backward'): number {
  return 4 * heads * headDim * pairsOf(context, windowed) * (pass === 'forward' ? 1 : 2.5)
}

function pairsOf({ attention, scores, prefix }: BlockContext, windowed: boolean): number {
  const places = prefix?.tokens ?? 0
  if (attention.kind === 'masked') return attention.rows * attention.length * (attention.length + places)
  const bias = windowed ? scores.windowed : scores.full, first = Array.isArray(bias) ? bias[0] : bias, all = first?.dtype === 'bool'
  return attention.offsets.slice(1).reduce((sum, end, i) => {
    const length = end - attention.offsets[i]
    return sum + (all ? length * length : (length * (length + 1)) / 2) + length * places
  }, 0)
}

/** Logits of so many rows, and with a backward the gradients of the rows and of what trains. */
export function headFlops({ weight }: HeadWeights, rows: number, gradient: boolean): number {
  const [vocabulary, width] = weight.value.shape
  return 2 * rows * vocabulary * width * (gradient ? (weight.grad === null ? 2 : 3) : 1)
}
