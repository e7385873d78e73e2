import type { RunEvent } from '../run/events'
import { MetricsLog, rewindMetrics } from '../train/metrics'
import { isTurn } from '../run/read-log'
import type { Channel } from './channel'
import type { Logs } from './logs'

/** An event without its time, which the reporter sets. */
export type NewEvent = RunEvent extends infer E ? E extends RunEvent ? Omit<E, 'time'> : never : never

/** Of one kind: thousands would bury all else. */
const mostWarnings = 20

/** Tells events to the front and writes them to `metrics.jsonl`; those that come before the file is open wait for it. */
export class Reporter {
  private log: MetricsLog | null = null
  private logs: Logs | null = null
  private waiting: RunEvent[] = []
  private toldFull = false
  /** The last step that was told; `null`: none yet. */
  lastStep: number | null = null
  private readonly warned = new Map<string, number>()

  /** @param run the run's id, told with the events that begin or end it */
  constructor(private readonly channel: Channel, private readonly logEvery: number, private readonly run: string) {}

  /** Opens `metrics.jsonl` of the output folder. After a resume events beyond `resumedAt` go from it first. */
  open(output: string, resumedAt: number | null): void {
    if (resumedAt !== null) rewindMetrics(output, resumedAt)
    this.log = new MetricsLog(output)
    for (const event of this.waiting.splice(0)) this.log.append(event)
  }

  event<E extends NewEvent>(fields: E): RunEvent & E {
    const event = { ...fields, time: Date.now(), ...(isTurn(fields as unknown as RunEvent) ? { run: this.run } : {}) } as unknown as RunEvent & E
    if (event.type === 'step') this.lastStep = event.step
    if (this.log === null) this.waiting.push(event)
    else if (!this.log.append(event)) this.tellFull()
    this.logs?.event(event as unknown as NewEvent)
    if (event.type !== 'step' || this.isShown(event.step, event.totalSteps)) this.channel.send({ kind: 'event', event })
    return event
  }

  /** Figures go to these logs too, from now on. */
  use(logs: Logs): void { this.logs = logs }

  /** A function, so that it can be handed on. */
  readonly warn = (code: string, message: string): void => {
    const count = (this.warned.get(code) ?? 0) + 1
    this.warned.set(code, count)
    if (count > mostWarnings) return
    this.event({ type: 'warning', code, message: count < mostWarnings ? message : `${message} Further warnings of this kind are left out.` })
  }

  progress(stage: string, done: number, total: number | null): void { this.channel.send({ kind: 'progress', stage, done, total }) }

  close(): void {
    this.log?.close()
    this.log = null
  }

  /** To the front alone, once: the file cannot take it. */
  private tellFull(): void {
    if (this.toldFull) return
    this.toldFull = true
    const message = 'the disk of the output folder is full: metrics.jsonl and checkpoints wait until there is space'
    this.channel.send({ kind: 'event', event: { type: 'warning', time: Date.now(), code: 'output.disk-full', message } })
  }

  /** Every step stands in the file; charts get each `logEvery`-th, the first and the last. */
  private isShown(step: number, totalSteps: number): boolean { return step % this.logEvery === 0 || step === 1 || step === totalSteps }
}
