import { stepOf, type DoneEvent, type EvalEvent, type FailedEvent, type PreparedEvent, type RunEvent, type SampleEvent, type StartedEvent, type StepEvent, type WarningEvent } from '../run/events'

/** Points of one line: `x` are optimizer steps. */
export interface Series { readonly x: readonly number[]; readonly y: readonly number[] }

/** The events of a run by kind, in order: what all views are made from. */
export interface RunView {
  readonly prepared: readonly PreparedEvent[]
  readonly started: StartedEvent | null
  readonly steps: readonly StepEvent[]
  readonly evals: readonly EvalEvent[]
  readonly samples: readonly SampleEvent[]
  readonly warnings: readonly WarningEvent[]
  readonly done: DoneEvent | null
  readonly failed: FailedEvent | null
}

/** Sorts events by kind. A resumed run repeats steps: the later event of a step counts. */
export function collect(events: readonly RunEvent[]): RunView {
  const of = <T extends RunEvent['type']>(type: T) => events.filter((event): event is Extract<RunEvent, { type: T }> => event.type === type)
  return {
    prepared: of('prepared'), started: of('started').at(-1) ?? null,
    steps: latest(of('step')), evals: latest(of('eval')), samples: latest(of('sample')), warnings: of('warning'),
    done: of('done').at(-1) ?? null, failed: of('failed').at(-1) ?? null,
  }
}

function latest<T extends RunEvent>(events: readonly T[]): T[] {
  const byStep = new Map<number, T>()
  for (const event of events) byStep.set(stepOf(event) ?? 0, event)
  return [...byStep.entries()].sort(([a], [b]) => a - b).map(([, event]) => event)
}

/** A series of one field of step or evaluation events. */
export function seriesOf<T extends RunEvent>(events: readonly T[], field: (event: T) => number): Series {
  return { x: events.map((event) => stepOf(event) ?? 0), y: events.map(field) }
}

/**
 * Exponential moving average with bias correction (Kingma & Ba 2015, §3), as wide as a share of the series: a line that one
 * can read at 50 steps as at 50,000. Values that are not finite are skipped.
 */
export function smooth(series: Series, share = 1 / 40): Series {
  const width = Math.max(3, series.y.length * share)
  const keep = 1 - 1 / width
  let mean = 0
  let weight = 0
  const y = series.y.map((value) => {
    if (!Number.isFinite(value)) return weight === 0 ? value : mean / weight
    mean = keep * mean + (1 - keep) * value
    weight = keep * weight + (1 - keep)
    return mean / weight
  })
  return { x: series.x, y }
}

/** Most points that a chart gets: renderers grow slow and fragile above (vscode-jupyter 2851). */
export const maxPoints = 1000

/** At most `limit` points: of each bucket the lowest and the highest stay, in order, and so do the first and the last point.
 * A spike of one step is seen at any length of run. */
export function downsample(series: Series, limit = maxPoints): Series {
  const n = series.x.length
  if (n <= limit) return series
  const kept = new Set<number>([0, n - 1])
  const buckets = Math.max(1, Math.floor((limit - 2) / 2))
  for (let b = 0; b < buckets; b++) {
    const from = 1 + Math.floor((b * (n - 2)) / buckets)
    const to = 1 + Math.floor(((b + 1) * (n - 2)) / buckets)
    let low = -1
    let high = -1
    for (let i = from; i < to; i++) {
      if (!Number.isFinite(series.y[i])) continue
      if (low < 0 || series.y[i] < series.y[low]) low = i
      if (high < 0 || series.y[i] > series.y[high]) high = i
    }
    if (low >= 0) kept.add(low).add(high)
  }
  const order = [...kept].sort((a, b) => a - b)
  return { x: order.map((i) => series.x[i]), y: order.map((i) => series.y[i]) }
}
