import { below, seededRandom, shuffle } from './random'

export interface OrderSettings {
  readonly rows: number
  readonly seed: number
  /** From 0. */
  readonly epoch: number
  /**
   * Puts rows of like length into the same steps. Rows are sorted only inside windows of `steps` steps of the shuffled
   * order, and the steps of a window are shuffled again. Without it the order is a plain shuffle.
   */
  readonly grouping?: { readonly lengths: (row: number) => number; readonly rowsPerStep: number; readonly steps: number }
}

/** The rows of an epoch in the order that training takes them: a pure function of its arguments. */
export function epochOrder({ rows, seed, epoch, grouping }: OrderSettings): Int32Array {
  const random = seededRandom(seed, epoch)
  const order = shuffle(Int32Array.from({ length: rows }, (_, i) => i), random)
  if (!grouping) return order
  const { lengths, rowsPerStep, steps } = grouping
  const out = new Int32Array(rows)
  for (let start = 0; start < rows; start += rowsPerStep * steps) {
    const window = order.subarray(start, start + rowsPerStep * steps)
    const sorted = Array.from(window).sort((a, b) => lengths(a) - lengths(b))
    out.set(shuffleSteps(sorted, rowsPerStep, random), start)
  }
  return out
}

/** Shuffles whole steps; a shorter one stays last, so that every other step keeps its size. */
function shuffleSteps(rows: readonly number[], rowsPerStep: number, random: () => number): number[] {
  const whole = Math.floor(rows.length / rowsPerStep)
  // Any step may be the shorter one, else the longest rows would always train in it.
  const short = rows.length % rowsPerStep === 0 ? whole : below(random, whole + 1)
  const shortRows = rows.length - whole * rowsPerStep
  const startOf = (step: number): number => step * rowsPerStep + (step >= short ? shortRows : 0)
  const steps = shuffle(Int32Array.from({ length: whole }, (_, i) => i), random)
  const out: number[] = []
  for (const step of steps) out.push(...rows.slice(startOf(step), startOf(step) + rowsPerStep))
  return [...out, ...rows.slice(short * rowsPerStep, short * rowsPerStep + shortRows)]
}

export interface BatchOrderSettings {
  readonly rows: number
  /** Tokens of each row; read only when rows are grouped by length. */
  readonly lengths?: (row: number) => number
  readonly seed: number
  readonly epoch: number
  /** Rows of a micro-batch. */
  readonly batchSize: number
  /** Micro-batches of a step. */
  readonly accumulate: number
  /** Steps in whose rows lengths are grouped; 0 or absent: plain shuffle. */
  readonly groupSteps?: number
}

/**
 * The steps of an epoch: for each step its micro-batches, for each of those its rows. The last step holds what is left,
 * in fewer or smaller micro-batches. A pure function of its arguments.
 */
export function batchOrder({ rows, lengths, seed, epoch, batchSize, accumulate, groupSteps = 0 }: BatchOrderSettings): Int32Array[][] {
  const rowsPerStep = batchSize * accumulate
  const grouping = groupSteps > 0 && lengths ? { lengths, rowsPerStep, steps: groupSteps } : undefined
  const order = epochOrder({ rows, seed, epoch, grouping })
  const steps: Int32Array[][] = []
  for (let start = 0; start < rows; start += rowsPerStep) {
    const step: Int32Array[] = []
    const end = Math.min(rows, start + rowsPerStep)
    for (let at = start; at < end; at += batchSize) step.push(order.subarray(at, Math.min(end, at + batchSize)))
    steps.push(step)
  }
  return steps
}
