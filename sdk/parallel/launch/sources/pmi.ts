import { defaultPort, jobPort, meeting } from '../master'
import type { Claim } from '../rank'
import { need, type Variables } from '../variables'
import { firstHostOfJob } from './slurm'

const own = ['PMI_RANK', 'PMI_SIZE', 'MPI_LOCALRANKID', 'MPI_LOCALNRANKS']
const whole = 'start with mpiexec, which sets all of them, or unset them'

/** Hydra, the launcher of MPICH, Intel MPI and MVAPICH. A world of one process is no parallel run. */
export function readPmi(env: Variables): Claim | null {
  // Slurm's own PMI gives rank and size alone; its step variables say the rest.
  if (!env.has('PMI_RANK', 'PMI_SIZE') || (!env.has('MPI_LOCALRANKID') && env.has('SLURM_STEP_ID'))) return null
  const seen = env.set(own)
  const rank = need(env.whole('PMI_RANK'), 'PMI_RANK', seen, whole)
  const worldSize = need(env.whole('PMI_SIZE', 1), 'PMI_SIZE', seen, whole)
  if (worldSize === 1) return null
  return {
    source: 'pmi', rank, worldSize, localWorldSize: env.whole('MPI_LOCALNRANKS', 1),
    finish: () => {
      const localRank = need(env.whole('MPI_LOCALRANKID'), 'MPI_LOCALRANKID', seen, whole)
      const localWorldSize = need(env.whole('MPI_LOCALNRANKS', 1), 'MPI_LOCALNRANKS', seen, whole)
      const at = meeting(env, worldSize === localWorldSize, jobPort(env) ?? defaultPort, firstHostOfJob(env), 'mpiexec', 'give its host: mpiexec -genv MASTER_ADDR HOST -genv MASTER_PORT PORT …')
      return { rank, worldSize, localRank, localWorldSize, source: 'pmi', ...at }
    },
  }
}
