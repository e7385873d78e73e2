import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import type { Plan } from '../plan/plan'
import { isAlive } from '../process'

/** Where a worker that lives is reached, in its output folder; for this user alone. */
export const controlName = 'control.json'

/** `control.json` of an output folder: where the worker that lives is reached. Only its user can read it. */
export interface ControlRecord {
  readonly version: 1
  /** The run's id, as in its events. */
  readonly run: string
  readonly pid: number
  /** Host of the worker: a socket of another host cannot be reached. */
  readonly host: string
  /** When the worker started, ms since epoch. */
  readonly time: number
  /** It outlives the process that started it. */
  readonly detached: boolean
  /** Path of the socket; `null` where none could be opened. */
  readonly socket: string | null
  /** Said first by a front, so that only who may read this file is listened to. */
  readonly token: string
  readonly plan: Plan
}

/** Names one run among all others. */
export function newRunId(): string { return randomUUID().slice(0, 8) }

/** The record of an output folder; `null` where there is none that this user can read. */
export function readControl(dir: string): ControlRecord | null {
  try {
    const record = JSON.parse(fs.readFileSync(path.join(dir, controlName), 'utf8')) as ControlRecord
    return record.version === 1 && typeof record.pid === 'number' ? record : null
  } catch { return null }
}

/** Whether the worker of a record lives on this host, where alone its process id and its socket mean anything. */
export function livesHere(record: ControlRecord): boolean {
  return record.host === os.hostname() && isAlive(record.pid)
}

/** Takes a stream of bytes apart into JSON objects, one a line. A line that is no JSON object is an error. */
export class JsonLines {
  /** The line that is not whole yet. */
  private parts: string[] = []
  private length = 0

  /** @param longest characters of a line; it may change between two objects */
  constructor(public longest: number) {}

  /** @throws SyntaxError, RangeError */
  *push(text: string): Generator<object, void, void> {
    let from = 0
    // Only what is new is looked through: a long line comes in thousands of pieces.
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      this.add(text.slice(from, end))
      from = end + 1
      const line = this.parts.join('')
      this.forget()
      if (line === '') continue
      const value: unknown = JSON.parse(line)
      if (typeof value !== 'object' || value === null) throw new SyntaxError('expected a JSON object')
      yield value
    }
    this.add(text.slice(from))
  }

  private add(part: string): void {
    this.length += part.length
    if (this.length > this.longest) throw new RangeError(`a line of more than ${this.longest} characters`)
    if (part !== '') this.parts.push(part)
  }

  private forget(): void {
    this.parts = []
    this.length = 0
  }
}
