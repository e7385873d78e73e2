import type { StepEvent } from '../run/events'
import type { BoardSeries } from './state'

/** Fields of a step that a board draws; `smoothLoss` is made here. */
const fields = ['loss', 'smoothLoss', 'learningRate', 'gradNorm', 'tokensPerSecond', 'utilisation', 'memory'] as const
type Field = typeof fields[number]

/** Lowest and highest value of one field in a bucket, and the steps that they stand at. */
interface Extremes { low: number; lowAt: number; high: number; highAt: number }

interface Bucket { readonly index: number; first: number; last: number; readonly of: Record<Field, Extremes | null> }

/** Most buckets that are kept: two points each at the most. */
const keptBuckets = 500

/** Five digits are more than a chart shows; what is not finite is `null`. */
export function five(value: number | null | undefined): number | null {
  return value !== null && value !== undefined && Number.isFinite(value) ? Number(value.toPrecision(5)) : null
}

/**
 * Exponential moving average with bias correction (Kingma & Ba 2015, §3) whose width grows with the steps seen: readable at 50
 * steps as at 50,000, and a value once drawn never moves. What is not finite is skipped.
 */
class Average {
  private mean = 0
  private weight = 0
  private count = 0

  add(value: number): number {
    if (Number.isFinite(value)) {
      this.count++
      const keep = 1 - 1 / Math.max(5, 1.2 * Math.sqrt(this.count))
      this.mean = keep * this.mean + (1 - keep) * value
      this.weight = keep * this.weight + (1 - keep)
    }
    return this.value
  }

  get value(): number { return this.weight > 0 ? this.mean / this.weight : NaN }
}

/** The same values as one follows them by eye: smoothed as the loss is; `null` before the first value. */
export function smoothed(values: readonly (number | null)[]): (number | null)[] {
  const average = new Average()
  return values.map((value) => five(average.add(value ?? NaN)))
}

/**
 * Steps thinned as they come, in memory that does not grow. A bucket covers a power of two of steps, counted from step 1, so
 * that its bounds stay where they are while a run grows and the drawn line does not shimmer. Of each bucket the lowest and
 * the highest value of each field stay: a spike of one step is seen at any length of run.
 */
export class Thinned {
  private buckets: Bucket[] = []
  private size = 1
  private readonly average = new Average()

  /** Smoothed loss of the newest step. */
  get smoothLoss(): number { return this.average.value }

  /** Takes the next step; steps must rise. */
  add(event: StepEvent): void {
    const smoothLoss = this.average.add(event.loss)
    const bucket = bucketOf(event.step, (field) => (field === 'smoothLoss' ? smoothLoss : event[field]), this.size)
    const last = this.buckets.at(-1)
    if (last?.index === bucket.index) merge(last, bucket)
    else this.buckets.push(bucket)
    if (this.buckets.length <= keptBuckets) return
    this.buckets = halve(this.buckets)
    this.size *= 2
  }

  /** At most `limit` points, as columns. */
  series(limit: number): BoardSeries {
    let { buckets, size } = this
    // Buckets of one or two steps are the steps themselves.
    while (buckets.length * (size === 1 ? 1 : 2) > Math.max(2, limit)) {
      buckets = halve(buckets)
      size *= 2
    }
    const step: number[] = []
    const columns = Object.fromEntries(fields.map((field) => [field, [] as (number | null)[]])) as Record<Field, (number | null)[]>
    for (const { first, last, of } of buckets) {
      step.push(first)
      if (last > first) step.push(last)
      for (const field of fields) columns[field].push(...pointsOf(of[field], last > first))
    }
    return { step, ...columns }
  }
}

function bucketOf(step: number, value: (field: Field) => number, size: number): Bucket {
  const of = Object.fromEntries(fields.map((field) => {
    const v = value(field)
    return [field, Number.isFinite(v) ? { low: v, lowAt: step, high: v, highAt: step } : null]
  })) as Bucket['of']
  return { index: Math.floor((step - 1) / size), first: step, last: step, of }
}

/** Adds a later bucket to `into`. */
function merge(into: Bucket, next: Bucket): void {
  into.last = next.last
  for (const field of fields) {
    const [a, b] = [into.of[field], next.of[field]]
    if (!a || !b) { into.of[field] = a ?? b; continue }
    if (b.low < a.low) { a.low = b.low; a.lowAt = b.lowAt }
    if (b.high > a.high) { a.high = b.high; a.highAt = b.highAt }
  }
}

/** The same over buckets twice as wide; the given ones stay as they are. */
function halve(buckets: readonly Bucket[]): Bucket[] {
  const wide: Bucket[] = []
  for (const bucket of buckets) {
    const index = Math.floor(bucket.index / 2)
    const last = wide.at(-1)
    if (last?.index === index) merge(last, bucket)
    else wide.push({ ...bucket, index, of: Object.fromEntries(fields.map((field) => [field, bucket.of[field] && { ...bucket.of[field] }])) as Bucket['of'] })
  }
  return wide
}

/** A bucket's one or two points, in the order in which its extremes came. */
function pointsOf(extremes: Extremes | null, two: boolean): (number | null)[] {
  if (!extremes) return two ? [null, null] : [null]
  const { low, lowAt, high, highAt } = extremes
  if (!two) return [five(high)]
  return lowAt < highAt ? [five(low), five(high)] : [five(high), five(low)]
}
