import * as fs from 'node:fs'
import * as os from 'node:os'
import { isAlive } from '../process'
import type { CommandEvent, RunEvent, TurnEvent } from './events'

/**
 * Where a run stands, judged from its events alone. `crashed`: it ended without a word; `lost`: it is on another host, to which
 * the connection was lost, and goes on there.
 */
export type Verdict = 'starting' | 'training' | 'paused' | 'finished' | 'stopped' | 'failed' | 'crashed' | 'lost'

/** No more is to come of a run that stands so, at least for who sees it. */
export function isOver(state: Verdict): boolean { return state !== 'starting' && state !== 'training' && state !== 'paused' }

/** A worker on another host counts as gone when it has not written for so long, ms. */
const silence = 10 * 60_000

/** Events that tell a run's state; `prepared` begins one anew after a resume. */
export function isTurn(event: RunEvent): event is TurnEvent { return event.type === 'prepared' || event.type === 'started' || event.type === 'done' || event.type === 'failed' }

/** Complete lines of a log from `offset` on, and where to go on; a half-written last line is left for later. */
export function readLines(file: string, offset: number): { events: RunEvent[]; offset: number } {
  let fd: number
  try { fd = fs.openSync(file, 'r') } catch { return { events: [], offset } }
  try {
    const { size } = fs.fstatSync(fd)
    // A log that shrank was started anew.
    const from = size < offset ? 0 : offset
    const bytes = Buffer.alloc(size - from)
    const read = fs.readSync(fd, bytes, 0, bytes.length, from)
    const end = bytes.subarray(0, read).lastIndexOf(10) + 1
    const events = bytes.subarray(0, end).toString('utf8').split('\n').map(parseEvent).filter((event): event is RunEvent => event !== null)
    return { events, offset: from + end }
  } finally { fs.closeSync(fd) }
}

/** All events of a log; none when there is no file. */
export function readLog(file: string): RunEvent[] { return readLines(file, 0).events }

/** A line torn by a crash says nothing; the lines around it still do. */
function parseEvent(line: string): RunEvent | null {
  if (line.trim() === '') return null
  try {
    const value = JSON.parse(line) as RunEvent
    return typeof value === 'object' && value !== null && typeof value.type === 'string' ? reviveNumbers(value) : null
  } catch { return null }
}

/** JSON has no NaN: a step without a label, or with a loss that was not finite, stands as `null` in the log. */
export function reviveNumbers<E extends RunEvent>(event: E): E {
  if (event.type !== 'step' && event.type !== 'eval') return event
  // Logs from before it was measured lack it.
  if (event.type === 'step' && event.utilisation === undefined) return reviveNumbers({ ...event, utilisation: 0 })
  return Object.fromEntries(Object.entries(event).map(([name, value]) => [name, value === null ? NaN : value])) as unknown as E
}

/** Judges the newest start in a log. */
export function verdict(events: readonly RunEvent[], now: number): Verdict {
  const end = newest(events, isTurn)
  if (!end) return 'starting'
  if (end.type === 'done') return end.stopped ? 'stopped' : 'finished'
  if (end.type === 'failed') return 'failed'
  if (end.type !== 'started') return 'starting'
  const turn = newest(events, (event) => event === end || isPauseOrResume(event))
  const state = turn?.type === 'command' && turn.command === 'pause' ? 'paused' : 'training'
  const elsewhere = end.host !== undefined && end.host !== os.hostname()
  // One that is paused has nothing to write.
  const alive = elsewhere ? state === 'paused' || now - events.at(-1)!.time < silence : isAlive(end.pid)
  return alive ? state : 'crashed'
}

/** A command that moves a run between training and paused. */
function isPauseOrResume(event: RunEvent): event is CommandEvent {
  return event.type === 'command' && (event.command === 'pause' || event.command === 'resume')
}

/** The last event that passes a test. */
export function newest(events: readonly RunEvent[], test: (event: RunEvent) => boolean): RunEvent | undefined {
  for (let i = events.length - 1; i >= 0; i--) if (test(events[i])) return events[i]
  return undefined
}
