import type { MemoryReading, RankProfile } from '../../profile/types'
import { middleStep } from './flame'

/** One line of the staircase: bytes hold until the next time. */
export interface StairLine { readonly name: string; readonly role: 'main' | 'second' | 'third'; readonly time: readonly number[]; readonly bytes: readonly number[] }

/** Memory over one step. */
export interface Staircase {
  /** ms. */
  readonly length: number
  readonly lines: readonly StairLine[]
  /** Where each point stands in the walk, in words. */
  readonly places: readonly string[]
}

function placeText({ at, layer }: MemoryReading): string {
  if (at === 'begin' || at === 'end') return `${at} of the step`
  return at === 'embed' ? 'behind the embedding' : at === 'head' ? 'behind head and loss' : `behind layer ${layer}, ${at}`
}

/** What memory held at the boundaries of a step. */
export function staircaseOf({ memory, steps }: RankProfile, index = middleStep({ steps })): Staircase {
  const { start, ms } = steps[index], own = memory.filter(({ time, at }) => time >= start - 1 && time <= start + ms + 1 && (at !== 'begin' || time <= start) && (at !== 'end' || time >= start + ms))
  const time = own.map((reading) => Math.min(ms, Math.max(0, reading.time - start)))
  const line = (name: string, role: StairLine['role'], bytes: (reading: MemoryReading) => number): StairLine => ({ name, role, time, bytes: own.map(bytes) })
  return {
    length: ms, places: own.map(placeText),
    lines: [line('resident', 'main', ({ resident }) => resident), line('tensors and planned buffers', 'second', ({ tensors, planned }) => tensors + planned), line('kept for the backward', 'third', ({ kept }) => kept)],
  }
}
