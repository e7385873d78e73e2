import type { Table } from 'apache-arrow'
import type { RunEvent } from './events'
import { MetricsTable, type StepColumns } from './metrics'
import { newest } from './read-log'

/** The events of a run, kept from the first, for readers that come at any time. */
export class EventLog {
  readonly #events: RunEvent[] = []
  readonly #metrics = new MetricsTable()
  #waiting: (() => void)[] = []
  #ended = false

  /** All events so far, oldest first. Grows while the run goes on. */
  get events(): readonly RunEvent[] { return this.#events }

  /** Step events as an Arrow table; steps that a resume does over are there once. */
  get metrics(): Table<StepColumns> { return this.#metrics.table }

  /** The newest event of a type. */
  last<T extends RunEvent['type']>(type: T): Extract<RunEvent, { type: T }> | undefined {
    return newest(this.#events, (event) => event.type === type) as Extract<RunEvent, { type: T }> | undefined
  }

  push(event: RunEvent): void {
    this.#events.push(event)
    this.#metrics.push(event)
    this.#wake()
  }

  /** No reader waits for more after this. */
  end(): void {
    this.#ended = true
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resume of waiting) resume()
  }

  /** Every event from the first one on, then each new one, until the log ends. */
  async *read(): AsyncGenerator<RunEvent, void, undefined> {
    for (let next = 0; ;) {
      if (next < this.#events.length) yield this.#events[next++]
      else if (this.#ended) return
      else await new Promise<void>((resume) => this.#waiting.push(resume))
    }
  }
}
