import { call, ops, scope, tensor, type Tensor } from 'fettle-native'
import { PlanError } from '../errors'
import { onDevice } from '../models/device'
import { Random } from '../models/random'

/** How the next token is chosen from its logits. */
export interface SamplingOptions {
  /** Divides the logits; 0: always the likeliest token. */
  readonly temperature?: number
  /** Only the k likeliest; 0: all. */
  readonly topK?: number
  /** Only the likeliest that together reach this probability (arXiv 1904.09751); 1: all. */
  readonly topP?: number
  readonly seed?: number
}

/**
 * Chooses tokens, one for each row. Each row has its own stream of the seed, apart from the generator that training
 * draws from: what a row gets depends neither on its neighbours nor on dropout.
 */
export class Sampler {
  private readonly temperature: number
  private readonly topK: number
  private readonly topP: number
  private readonly streams: Random[]

  constructor({ temperature = 0, topK = 0, topP = 1, seed = 0 }: SamplingOptions, rows: number) {
    check('temperature', temperature, temperature >= 0, 'a number from 0 (greedy) up')
    check('topK', topK, Number.isInteger(topK) && topK >= 0, 'a whole number from 0 (off) up')
    check('topP', topP, topP > 0 && topP <= 1, 'a number above 0, up to 1 (off)')
    this.temperature = topK === 1 ? 0 : temperature
    this.topK = topK
    this.topP = topP
    this.streams = Array.from({ length: rows }, (_, row) => new Random(seed, row))
  }

  /** fp32 logits `[R, vocab]` of the rows named → their next tokens. */
  next(logits: Tensor, rows: readonly number[]): number[] {
    const { temperature, topK, topP } = this, draws = temperature === 0 ? [] : rows.map((row) => Math.fround(this.streams[row].uniform()))
    return (logits.device === 'cpu' ? sampleInOneCall : sampleByOperators)(logits, { temperature, topK, topP }, draws)
  }
}

/** How all rows are sampled, and a number in [0, 1) for each row. */
type Sampling = (logits: Tensor, options: Required<Omit<SamplingOptions, 'seed'>>, draws: readonly number[]) => number[]

const sampleInOneCall: Sampling = (logits, { temperature, topK, topP }, draws) => call('fettle::sample', '', logits, temperature, topK, topP, draws) as number[]

/** On any device. */
export const sampleByOperators: Sampling = (logits, { temperature, topK, topP }, draws) => scope(() => {
  if (temperature === 0) return ops.argmax(logits, 1).toArray()
  const vocab = logits.shape[1], kept = topK > 0 ? Math.min(topK, vocab) : vocab
  const [values, ids] = ops.topk(ops.div(logits, temperature), kept, 1)
  const probabilities = ops.softmax(values, 1)
  if (topP < 1) {
    // A token stays when those before it do not reach topP yet; the first always stays.
    const before = ops.sub(ops.cumsum(probabilities, 1), probabilities)
    ops.mul_(probabilities, ops.lt(before, topP))
  }
  const cumulative = ops.cumsum(probabilities, 1)
  const target = ops.mul(onDevice(tensor(Float32Array.from(draws), [draws.length, 1]), logits.device), ops.narrow(cumulative, 1, kept - 1, 1))
  const chosen = ops.clamp_max(ops.searchsorted(cumulative, target, { right: true }), kept - 1)
  return ops.gather(ids, 1, chosen).toArray()
})

function check(field: string, value: number, valid: boolean, expected: string): void {
  if (!valid) throw new PlanError('generate.value', `expected ${expected} for ${field}, got ${value}`, { field, value })
}
