import { environmentError } from './variables'

/** Who told a process its rank: `fettle` are Fettle's own variables, the others a launcher's. */
export type RankSource = 'fettle' | 'torchrun' | 'pet' | 'openmpi' | 'pmi' | 'slurm'

/** Which rank of a parallel run a process is, and where all ranks meet. */
export interface RankEnvironment {
  /** From 0 to `worldSize` − 1, over all machines. */
  readonly rank: number
  /** Ranks of the run, over all machines. */
  readonly worldSize: number
  /** From 0 to `localWorldSize` − 1, on this machine: which device and cores are this rank's. */
  readonly localRank: number
  /** Ranks of the run on this machine. */
  readonly localWorldSize: number
  /** Name or address of rank 0's machine; 127.0.0.1 where all ranks are on this one. */
  readonly masterAddress: string
  /** TCP port of the store on that machine, from 1 to 65535. */
  readonly masterPort: number
  /** Whose variables said so. */
  readonly source: RankSource
  /**
   * True where the launcher's agent serves the store itself, as torchrun's does: rank 0 connects to it like the others. That store
   * outlives a restart, so keys need a prefix with `restartCount`.
   */
  readonly storeServed?: boolean
  /** How often the launcher has started the ranks again; 0 at first. */
  readonly restartCount?: number
  /** The launcher's name for the run: torchrun's rendezvous id, Slurm's `job.step`. */
  readonly runId?: string
}

/** What a launcher's variables say of ranks, before the meeting place is known. */
export interface Claim {
  readonly source: RankSource
  readonly rank: number
  readonly worldSize: number
  readonly localWorldSize?: number
  /** Its variables can only be of this very process: an agent set them when it started it. */
  readonly certain?: boolean
  /** The whole answer; complains about what it lacks. Called only where this source decides. */
  readonly finish: () => RankEnvironment
}

export const loopback = '127.0.0.1'
export function isLoopback(address: string): boolean { return address === 'localhost' || address === '::1' || /^127\./.test(address) }

/** Complains where a rank is outside its world. */
export function checkRanges(found: RankEnvironment): RankEnvironment {
  const { rank, worldSize, localRank, localWorldSize, source } = found
  const wrong = (what: string) => environmentError(`${what}, by the variables of ${source}`, [], 'correct the variables, or set FETTLE_RANK, FETTLE_WORLD_SIZE, FETTLE_LOCAL_RANK and FETTLE_LOCAL_WORLD_SIZE')
  if (rank >= worldSize) throw wrong(`expected a rank below the world size ${worldSize}, got ${rank}`)
  if (localWorldSize > worldSize) throw wrong(`expected at most ${worldSize} ranks on this machine, got ${localWorldSize}`)
  if (localRank >= localWorldSize) throw wrong(`expected a local rank below the ${localWorldSize} ranks of this machine, got ${localRank}`)
  return found
}
