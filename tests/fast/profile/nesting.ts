import assert from 'node:assert/strict'
import type { TraceEvent } from 'fettle/dist/profile/chrome'

type Complete = Extract<TraceEvent, { ph: 'X' }>

/** Each complete event of a process lies inside those that are open, or begins behind them. */
export function checkNesting(events: readonly TraceEvent[]): void {
  const complete = events.filter((event): event is Complete => event.ph === 'X')
  assert.ok(complete.length > 0)
  for (const pid of new Set(complete.map((event) => event.pid))) {
    const open: Complete[] = []
    for (const event of complete.filter((each) => each.pid === pid).sort((a, b) => a.ts - b.ts || b.dur - a.dur)) {
      assert.ok(event.dur >= 0 && Number.isFinite(event.ts))
      while (open.length > 0 && open[open.length - 1].ts + open[open.length - 1].dur <= event.ts + 1e-3) open.pop()
      const around = open[open.length - 1]
      if (around !== undefined) assert.ok(event.ts + event.dur <= around.ts + around.dur + 1e-3, `${event.name} ends behind ${around.name}`)
      open.push(event)
    }
  }
}
