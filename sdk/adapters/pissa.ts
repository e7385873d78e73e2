import { ops, tensor, type Tensor } from 'fettle-native'
import { onDevice } from '../models/device'
import { Random } from '../models/random'
import type { LoraConfig } from './lora-config'

/* PiSSA (arXiv 2404.02948): a LoRA that begins as the principal part of each weight, which is taken out of the weight. */

/** Both sides of a LoRA: A [rank, in], B [out, rank]. */
export interface Pair { readonly a: Tensor; readonly b: Tensor }

/** Where the shorter side of a matrix is longer, its whole decomposition takes seconds and more. */
const exactSide = 1024
/** Of the iteration that takes its place: the error of a singular value falls by the ratio of neighbours, to the power of twice this. */
const rounds = 8

/**
 * A and B with scale · BA the nearest matrix of that rank: for W = U S Vᵀ, A = √(S / scale) Vᵀ and B = U √(S / scale) of the
 * largest singular values, as PEFT has it. Call inside a scope.
 * @param weight [out, in] in fp32, both at least `rank`
 */
export function principalPart(weight: Tensor, rank: number, scale: number, random: Random): Pair {
  const [u, s, v] = decomposed(weight, rank, random)
  const root = ops.sqrt(ops.div(ops.narrow(s, 0, 0, rank), scale))
  return { a: ops.mul(ops.narrow(v, 0, 0, rank), ops.unsqueeze(root, 1)), b: ops.mul(ops.narrow(u, 1, 0, rank), root) }
}

/** U, S, Vᵀ; of a large matrix its first ones alone, by subspace iteration (arXiv 0909.4061, algorithms 4.4 and 5.1). */
function decomposed(weight: Tensor, rank: number, random: Random): readonly [Tensor, Tensor, Tensor] {
  const [rows, columns] = weight.shape, width = 2 * rank + 8
  if (Math.min(rows, columns) <= Math.max(exactSide, width)) return ops.linalg_svd(weight, false)
  const start = tensor(Float32Array.from({ length: columns * width }, () => random.normal()), [columns, width])
  const basis = (x: Tensor): Tensor => ops.linalg_qr(x)[0]
  let q = basis(ops.mm(weight, onDevice(start, weight.device)))
  for (let round = 0; round < rounds; round++) q = basis(ops.mm(weight, basis(ops.mm(ops.t(weight), q))))
  const [u, s, v] = ops.linalg_svd(ops.mm(ops.t(q), weight), false)
  return [ops.mm(q, u), s, v]
}

/** What training changed, B A − B₀ A₀, as one LoRA of twice the rank: it fits the weight as it came. */
export function changeOf(now: Pair, first: Pair): Pair {
  return { a: ops.cat([now.a, first.a], 0), b: ops.cat([now.b, ops.neg(first.b)], 1) }
}

/** The two that {@link changeOf} joined. */
export function partsOfChange({ a, b }: Pair): { readonly now: Pair; readonly first: Pair } {
  const rank = a.shape[0] / 2
  return { now: { a: ops.narrow(a, 0, 0, rank), b: ops.narrow(b, 1, 0, rank) }, first: { a: ops.narrow(a, 0, rank, rank), b: ops.neg(ops.narrow(b, 1, rank, rank)) } }
}

/** Twice the rank at the same scale. */
export function configOfChange(config: LoraConfig): LoraConfig {
  const factor = config.rankStabilized ? Math.SQRT2 : 2
  const times = (table: Readonly<Record<string, number>>, by: number): Record<string, number> => Object.fromEntries(Object.entries(table).map(([name, value]) => [name, value * by]))
  return { ...config, rank: 2 * config.rank, alpha: factor * config.alpha, rankPattern: times(config.rankPattern, 2), alphaPattern: times(config.alphaPattern, factor) }
}
