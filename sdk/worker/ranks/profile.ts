import * as fs from 'node:fs'
import * as path from 'node:path'
import type { RankProfile } from '../../profile/types'

function partName(rank: number): string { return `rank-${rank}.json` }

/** Leaves what a rank recorded for the first one. */
export function writePart(folder: string, profile: RankProfile): void {
  // A rank of another machine has no such folder where they share no file system: its part stays out.
  if (fs.existsSync(folder)) fs.writeFileSync(path.join(folder, partName(profile.rank)), JSON.stringify(profile))
}

/** The parts that are there, by rank. */
export function readParts(folder: string, ranks: number): RankProfile[] {
  return Array.from({ length: ranks }, (_, rank) => path.join(folder, partName(rank))).filter((file) => fs.existsSync(file))
    .map((file) => JSON.parse(fs.readFileSync(file, 'utf8')) as RankProfile)
}
