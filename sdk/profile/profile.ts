import * as fs from 'node:fs'
import * as path from 'node:path'
import { EnvironmentError } from '../errors'
import { Shown } from '../inspect/shown'
import { profileView, type TextAndHtml } from '../views/objects'
import { profilePage } from '../views/profile/page'
import { callHook, showHook } from '../views/show'
import { chromeTrace } from './chrome'
import { blockRows, layerRows, totalsOf, type BlockRow, type LayerRow, type StepTotals } from './summary'
import type { GemmLimit, MemoryPart, MemoryReading, ProfileData, ProfileStep, RankProfile } from './types'

/**
 * Where the time and the memory of some steps went. As a cell's last value it draws itself: a flame chart of a step, the staircase of
 * memory, and tables; as text it is the tables. Figures are of rank 0 where several train; `ranks` has them all.
 */
export class Profile extends Shown {
  /** @internal Use `run.profile()`. */
  constructor(
    /** All that was recorded: plain data, as `profile-STEP.json` has it. */
    readonly data: ProfileData,
    /** Where the worker left it, as absolute paths on its host; `null` where it is not in files. */
    readonly files: { readonly json: string; readonly trace: string } | null = null,
  ) {
    super()
    Object.freeze(this)
  }

  /** What each rank recorded; rank 0 first. */
  get ranks(): readonly RankProfile[] { return this.data.ranks }
  /** The steps, in order. */
  get steps(): readonly ProfileStep[] { return this.first.steps }
  /** The mean step: time, tokens a second, share of the limit. */
  get totals(): StepTotals { return totalsOf(this.first, this.limit) }
  /** Time, operations and their rate by block and part of the step, the longest first; a mean step. */
  get blocks(): readonly BlockRow[] { return blockRows(this.first, this.limit) }
  /** The same by layer, in order. */
  get layers(): readonly LayerRow[] { return layerRows(this.first) }
  /** The staircase: what memory held at each boundary of the walk. */
  get memory(): readonly MemoryReading[] { return this.first.memory }
  /** Peak memory by what holds it. All parts sum to `peak`. */
  get parts(): readonly MemoryPart[] { return this.first.parts }
  /** The most that was resident, in bytes; on a GPU the most that its allocator held. */
  get peak(): number { return Math.max(...this.memory.map(({ resident }) => resident)) }
  /** How fast large matrix products run on this machine. */
  get limit(): GemmLimit { return this.data.limit }

  private get first(): RankProfile { return this.data.ranks[0] }

  /**
   * Reads a profile from its `profile-STEP.json`.
   * @throws EnvironmentError `profile.file` where there is none
   */
  static read(file: string): Profile {
    const whole = path.resolve(file)
    try {
      const data = JSON.parse(fs.readFileSync(whole, 'utf8')) as ProfileData
      if (data.version === 1 && Array.isArray(data.ranks) && data.ranks.length > 0) return new Profile(data)
    } catch (cause) {
      throw new EnvironmentError('profile.file', `expected a profile in ${whole}, got none: ${(cause as Error).message}; try the profile-STEP.json of an output folder`, { file: whole }, { cause })
    }
    throw new EnvironmentError('profile.file', `expected a profile of version 1 in ${whole}; try the profile-STEP.json of an output folder`, { file: whole })
  }

  /**
   * Writes all figures as JSON, as `Profile.read()` takes them.
   * @returns its absolute path
   * @throws EnvironmentError `profile.write`
   */
  save(file: string): string { return write(file, JSON.stringify(this.data)) }

  /**
   * Writes a trace file that Perfetto and chrome://tracing load: a process for each rank, frames that nest as step, part, forward or backward,
   * layer, half, block, collective, and counters of memory.
   * @returns its absolute path
   * @throws EnvironmentError `profile.write`
   */
  chromeTrace(file: string): string { return write(file, JSON.stringify(chromeTrace(this.data))) }

  /**
   * Writes one HTML page with both charts and the tables; it needs no server and asks none.
   * @returns its absolute path
   * @throws EnvironmentError `profile.write`
   */
  page(file: string): string { return write(file, profilePage(this)) }

  /** Shows it under the cell that runs; outside of a notebook it prints the text form. */
  show(): void {
    if (!callHook(showHook, this)) console.log(this.toString())
  }

  /** Plain data, for `JSON.stringify`. */
  toJSON(): ProfileData { return this.data }

  protected override view(): TextAndHtml { return profileView(this) }
}

function write(file: string, text: string): string {
  const whole = path.resolve(file)
  try {
    fs.mkdirSync(path.dirname(whole), { recursive: true })
    fs.writeFileSync(whole, text)
  } catch (cause) {
    throw new EnvironmentError('profile.write', `cannot write ${whole}: ${(cause as Error).message}; try another file`, { file: whole }, { cause })
  }
  return whole
}
