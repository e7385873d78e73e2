import type { RunEvent } from '../run/events'
import { Collector } from './collector'
import type { BoardCommand, BoardData } from './state'

/** What events do not say of a run. */
export interface BoardOptions {
  /** Id of the run. */
  readonly run?: string
  /** The output folder. */
  readonly dir?: string
  /** How far the long step before training is. */
  readonly progress?: { readonly stage: string; readonly done: number; readonly total: number | null } | null
  /** Outlives its notebook. */
  readonly detached?: boolean
  /** Commands that reach the run; of these the board offers what its status allows. Default: none. */
  readonly controls?: readonly BoardCommand['name'][]
  /** Why the run ended, where its events do not tell (its worker vanished): the board says crashed, or of `run.lost` that the connection is. */
  readonly crashed?: { readonly name: string; readonly code: string; readonly message: string } | null
  /** How it trains, in words: `LoRA rank 8`. */
  readonly method?: string
  /** ms since epoch, for a run that goes on. Default: the time of the last event. */
  readonly now?: number
  /** Most points of a chart. Default 250 while the run goes on, 1000 when it is over. */
  readonly maxPoints?: number
}

/**
 * The board of a run as it stands, a pure function of its events and options. Looks at all events each time; a display that
 * asks twice a second keeps a `BoardReader`.
 */
export function boardData(events: readonly RunEvent[], options: BoardOptions = {}): BoardData {
  return new BoardReader(events).read(options)
}

/** Reads a growing list of events for a board; each look costs what is new. */
export class BoardReader {
  private collector = new Collector()
  private seen = 0

  constructor(private readonly events: readonly RunEvent[]) {}

  read(options: BoardOptions = {}): BoardData {
    for (; this.seen < this.events.length; this.seen++) {
      if (this.collector.take(this.events[this.seen])) continue
      this.collector = rewound(this.events, this.seen)
    }
    return this.collector.data(options)
  }
}

/** A collector that took all events up to `last`, without the steps that `last` does again: a resumed run counts each step once, the later time. */
function rewound(events: readonly RunEvent[], last: number): Collector {
  const collector = new Collector()
  // From the end: a step stays when no later one is at or before it.
  let lowest = Infinity
  const kept: RunEvent[] = []
  for (let i = last; i >= 0; i--) {
    const event = events[i]
    if (event.type === 'step') {
      if (event.step >= lowest) continue
      lowest = event.step
    }
    kept.push(event)
  }
  for (const event of kept.reverse()) collector.take(event)
  return collector
}
