import * as fs from 'node:fs'
import * as path from 'node:path'
import { stepOf, type RunEvent } from '../run/events'
import { metricsName } from '../run/folder'
import { isDiskFull } from './disk'

/**
 * Appends events to `metrics.jsonl`. A line is one write, so that a killed worker leaves at most its last line torn.
 * What a full disk refuses waits for the next event: the log is no reason to end a run.
 */
export class MetricsLog {
  private readonly descriptor: number
  private waiting = Buffer.alloc(0)

  constructor(output: string) {
    fs.mkdirSync(output, { recursive: true })
    this.descriptor = fs.openSync(path.join(output, metricsName), 'a')
  }

  /** Returns false when the disk is full and lines wait. */
  append(event: RunEvent): boolean {
    this.waiting = Buffer.concat([this.waiting, Buffer.from(`${JSON.stringify(event)}\n`)])
    try {
      while (this.waiting.length > 0) this.waiting = this.waiting.subarray(fs.writeSync(this.descriptor, this.waiting))
      return true
    } catch (error) {
      if (isDiskFull(error)) return false
      throw error
    }
  }

  close(): void {
    fs.closeSync(this.descriptor)
  }
}

/**
 * Prepares `metrics.jsonl` for a resume at `step`: events of later steps go (they run again), and so do ends of the
 * run and a torn last line. What stays is in order, one line with `step` a step.
 */
export function rewindMetrics(output: string, step: number): void {
  const file = path.join(output, metricsName)
  if (!fs.existsSync(file)) return
  const kept = fs.readFileSync(file, 'utf8').split('\n').filter((line) => {
    let event: RunEvent
    try {
      event = JSON.parse(line) as RunEvent
    } catch {
      return false
    }
    // Without `started` too, a reader sees a run that starts, not one whose old worker is gone.
    if (event.type === 'done' || event.type === 'failed' || event.type === 'started') return false
    return (stepOf(event) ?? 0) <= step
  })
  const temporary = `${file}.tmp`
  fs.writeFileSync(temporary, kept.map((line) => `${line}\n`).join(''))
  fs.renameSync(temporary, file)
}
