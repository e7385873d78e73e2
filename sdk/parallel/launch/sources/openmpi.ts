import { jobPort, meeting, defaultPort, portOf } from '../master'
import type { Claim } from '../rank'
import { environmentError, need, type Variables } from '../variables'
import { firstHostOfJob } from './slurm'

const own = ['OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_LOCAL_SIZE']
const whole = 'start with mpirun, which sets all of them, or unset them'

/** Open MPI's mpirun, of any version since 1.3. A world of one process is no parallel run. */
export function readOpenMpi(env: Variables): Claim | null {
  const seen = env.set(own)
  if (seen.length === 0) return refuseBarePmix(env)
  const rank = need(env.whole('OMPI_COMM_WORLD_RANK'), 'OMPI_COMM_WORLD_RANK', seen, whole)
  const worldSize = need(env.whole('OMPI_COMM_WORLD_SIZE', 1), 'OMPI_COMM_WORLD_SIZE', seen, whole)
  if (worldSize === 1) return null
  const localRank = need(env.whole('OMPI_COMM_WORLD_LOCAL_RANK'), 'OMPI_COMM_WORLD_LOCAL_RANK', seen, whole)
  const localWorldSize = need(env.whole('OMPI_COMM_WORLD_LOCAL_SIZE', 1), 'OMPI_COMM_WORLD_LOCAL_SIZE', seen, whole)
  const job = env.text('PMIX_NAMESPACE') ?? env.text('OMPI_MCA_ess_base_jobid')
  const port = job === undefined ? jobPort(env) ?? defaultPort : portOf(job)
  return {
    source: 'openmpi', rank, worldSize, localWorldSize,
    finish: () => ({
      rank, worldSize, localRank, localWorldSize, source: 'openmpi',
      ...meeting(env, worldSize === localWorldSize, port, firstHostOfJob(env), 'mpirun', 'give its host: mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=PORT …'),
      ...(job !== undefined && { runId: job }),
    }),
  }
}

/** PMIx tells a process its rank by its variables, and the size of the world only by a library that is not used here. */
function refuseBarePmix(env: Variables): null {
  if (!env.has('PMIX_RANK') || env.has('SLURM_JOB_ID', 'PMI_SIZE')) return null
  throw environmentError('PMIX_RANK is set and no variable says how many ranks there are', ['PMIX_RANK'], 'give it: FETTLE_RANK=$PMIX_RANK FETTLE_WORLD_SIZE=N, with FETTLE_LOCAL_RANK, FETTLE_LOCAL_WORLD_SIZE and FETTLE_MASTER_ADDR on several machines')
}
