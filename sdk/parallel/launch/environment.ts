import type { NodeEnvironment } from './node'
import { checkRanges, type Claim, type RankEnvironment } from './rank'
import { fettleNode, readFettle } from './sources/fettle'
import { readOpenMpi } from './sources/openmpi'
import { isPet, petNode, readPet } from './sources/pet'
import { readPmi } from './sources/pmi'
import { readSlurm } from './sources/slurm'
import { readTorchrun, refuseHalf } from './sources/torchrun'
import { environmentError, Variables } from './variables'

/** Launchers, the one that decides first: the inner one where one started the other. */
const launchers: readonly ((env: Variables) => Claim | null)[] = [readTorchrun, readPet, readOpenMpi, readPmi, readSlurm]

/**
 * Which rank a process is, by its environment alone; null where no launcher made it one. Precedence: FETTLE_*, torchrun, PET_*,
 * Open MPI, Hydra's PMI, Slurm steps; docs/launch.md has the table. FETTLE_LOCAL_RANK, FETTLE_LOCAL_WORLD_SIZE,
 * FETTLE_MASTER_ADDR and FETTLE_MASTER_PORT also correct what a launcher said.
 *
 * Throws a `PlanError`: `launch.environment` for values that cannot be or that lack others, `launch.conflict` where launchers
 * contradict each other, `launch.node` where the environment is that of a machine with several ranks.
 */
export function rankFromEnvironment(env: NodeJS.ProcessEnv): RankEnvironment | null {
  const variables = new Variables(env)
  const explicit = readFettle(variables)
  if (explicit) return checkRanges(explicit.finish())
  const claims = launchers.map((read) => read(variables)).filter((claim) => claim !== null)
  const [first, ...others] = claims
  if (first === undefined) {
    refuseHalf(variables)
    return null
  }
  for (const other of others) checkNested(first, other)
  if (first.source !== 'torchrun' && first.source !== 'pet') checkStray(first, variables)
  return checkRanges(corrected(first.finish(), variables))
}

/**
 * Which of several machines this is, for a launcher that starts the ranks of one: FETTLE_NODES with FETTLE_NODE_RANK or a
 * Kubernetes Indexed Job's JOB_COMPLETION_INDEX, then PET_*. Null where the environment says nothing of it, or where this
 * process is a rank already. Throws a `PlanError` as `rankFromEnvironment` does.
 */
export function nodeFromEnvironment(env: NodeJS.ProcessEnv): NodeEnvironment | null {
  const variables = new Variables(env)
  if (variables.has('FETTLE_RANK', 'FETTLE_WORLD_SIZE', 'LOCAL_RANK')) return null
  if (variables.has('FETTLE_NODES')) return fettleNode(variables)
  return isPet(variables) ? petNode(variables) : null
}

/** A rank as Fettle's own variables, for a process that is started as it. */
export function rankVariables(rank: RankEnvironment): Record<string, string> {
  const values: Record<string, string | number | undefined> = {
    FETTLE_RANK: rank.rank, FETTLE_WORLD_SIZE: rank.worldSize, FETTLE_LOCAL_RANK: rank.localRank, FETTLE_LOCAL_WORLD_SIZE: rank.localWorldSize,
    FETTLE_MASTER_ADDR: rank.masterAddress, FETTLE_MASTER_PORT: rank.masterPort, FETTLE_RESTART_COUNT: rank.restartCount, FETTLE_RUN_ID: rank.runId,
  }
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined).map(([name, value]) => [name, String(value)]))
}

function corrected(found: RankEnvironment, env: Variables): RankEnvironment {
  return {
    ...found,
    localRank: env.whole('FETTLE_LOCAL_RANK') ?? found.localRank, localWorldSize: env.whole('FETTLE_LOCAL_WORLD_SIZE', 1) ?? found.localWorldSize,
    masterAddress: env.host('FETTLE_MASTER_ADDR') ?? found.masterAddress, masterPort: env.port('FETTLE_MASTER_PORT') ?? found.masterPort,
  }
}

/**
 * Two launchers agree, or the outer one started the inner one's own processes, one or so a machine (mpirun and torchrun under
 * srun): then the outer world is the smaller. An agent's world may also be this machine's alone, in each of many tasks.
 */
function checkNested(inner: Claim, outer: Claim): void {
  if (inner.rank === outer.rank && inner.worldSize === outer.worldSize) return
  if (outer.worldSize < inner.worldSize) return
  if (inner.certain && (outer.worldSize === inner.worldSize || inner.localWorldSize === inner.worldSize)) return
  const says = ({ source, rank, worldSize }: Claim) => `${source} says rank ${rank} of ${worldSize}`
  throw environmentError(`${says(inner)}, ${says(outer)}`, [inner.source, outer.source], `unset the variables of the one that did not start this process, or set FETTLE_RANK and FETTLE_WORLD_SIZE`, 'launch.conflict')
}

/** RANK or WORLD_SIZE that a script exported in part: right as long as they are what the launcher says. */
function checkStray(claim: Claim, env: Variables): void {
  for (const [name, value] of [['RANK', claim.rank], ['WORLD_SIZE', claim.worldSize]] as const) {
    const seen = env.whole(name)
    if (seen !== undefined && seen !== value) {
      throw environmentError(`${name} is ${seen}, and ${claim.source} says ${value}`, [name], `unset ${name}, or set FETTLE_RANK and FETTLE_WORLD_SIZE`, 'launch.conflict')
    }
  }
}
