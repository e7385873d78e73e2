import type { RunEvent, StepEvent } from '../run/events'

const paceSteps = 30

/** What a step took of the clock, pauses left out. */
interface Pace { readonly wall: number; readonly ms: number; readonly tokens: number }

/** Times of a run, from its events alone: how long it has gone, and at which pace. */
export class Clock {
  /** Of the worker that runs now; those before it are in `earlier`. */
  private begun: number | null = null
  private latest = 0
  private earlier = 0
  private lastStep: number | null = null
  private pausedAt: number | null = null
  private pausedSinceStep = 0
  private recent: Pace[] = []

  get paused(): boolean { return this.pausedAt !== null }

  take(event: RunEvent): void {
    if (event.type === 'started') this.begin(event.time)
    if (event.type === 'command' && event.command === 'pause') this.pausedAt ??= event.time
    // A stop ends a pause as well as a resume does.
    if (event.type === 'command' && (event.command === 'resume' || event.command === 'stop')) this.unpause(event.time)
    if (event.type === 'step') this.step(event)
    if (this.begun !== null) this.latest = Math.max(this.latest, event.time)
  }

  private begin(time: number): void {
    if (this.begun !== null) this.earlier += Math.max(0, this.latest - this.begun)
    this.begun = this.latest = time
    this.lastStep = this.pausedAt = null
    this.pausedSinceStep = 0
    this.recent = []
  }

  private unpause(time: number): void {
    if (this.pausedAt !== null) this.pausedSinceStep += Math.max(0, time - this.pausedAt)
    this.pausedAt = null
  }

  private step(event: StepEvent): void {
    const wall = this.lastStep === null ? null : Math.max(0, event.time - this.lastStep - this.pausedSinceStep)
    // The first step has no step before it; its own duration stands in.
    this.recent.push({ wall: wall ?? event.ms, ms: event.ms, tokens: event.tokens })
    if (this.recent.length > paceSteps) this.recent.shift()
    this.lastStep = event.time
    this.pausedSinceStep = 0
  }

  /** ms since the start, pauses included; until `now` where the run goes on. */
  elapsed(now: number | null): number {
    if (this.begun === null) return 0
    return this.earlier + Math.max(0, Math.max(this.latest, now ?? 0) - this.begun)
  }

  /** ms that so many steps take at the pace of the last ones, evaluations included. */
  left(steps: number): number | null {
    if (this.recent.length < 2) return null
    return Math.round((this.recent.reduce((sum, { wall }) => sum + wall, 0) / this.recent.length) * Math.max(0, steps))
  }

  /** Over the last steps, evaluations left out. */
  get tokensPerSecond(): number | null {
    const ms = this.recent.reduce((sum, step) => sum + step.ms, 0)
    return ms > 0 ? (this.recent.reduce((sum, step) => sum + step.tokens, 0) / ms) * 1000 : null
  }
}
