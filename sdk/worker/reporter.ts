import type { RunEvent } from '../run/events'
import { MetricsLog, rewindMetrics } from '../train/metrics'
import type { Channel } from './channel'

/** An event without its time, which the reporter sets. */
export type NewEvent = RunEvent extends infer E ? E extends RunEvent ? Omit<E, 'time'> : never : never

/** Tells events to the front and writes them to `metrics.jsonl`; those that come before the file is open wait for it. */
export class Reporter {
  private log: MetricsLog | null = null
  private waiting: RunEvent[] = []

  constructor(private readonly channel: Channel, private readonly logEvery: number) {}

  /** Opens `metrics.jsonl` of the output folder. After a resume events beyond `resumedAt` go from it first. */
  open(output: string, resumedAt: number | null): void {
    if (resumedAt !== null) rewindMetrics(output, resumedAt)
    this.log = new MetricsLog(output)
    for (const event of this.waiting.splice(0)) this.log.append(event)
  }

  event<E extends NewEvent>(fields: E): RunEvent & E {
    const event = { ...fields, time: Date.now() } as unknown as RunEvent & E
    if (this.log === null) this.waiting.push(event)
    else this.log.append(event)
    if (event.type !== 'step' || this.isShown(event.step, event.totalSteps)) this.channel.send({ kind: 'event', event })
    return event
  }

  /** A function, so that it can be handed on. */
  readonly warn = (code: string, message: string): void => { this.event({ type: 'warning', code, message }) }

  progress(stage: string, done: number, total: number | null): void { this.channel.send({ kind: 'progress', stage, done, total }) }

  close(): void {
    this.log?.close()
    this.log = null
  }

  /** Every step stands in the file; charts get each `logEvery`-th, the first and the last. */
  private isShown(step: number, totalSteps: number): boolean { return step % this.logEvery === 0 || step === 1 || step === totalSteps }
}
