import { isLoopback, type Claim, type RankEnvironment } from '../rank'
import { environmentError, lacking, need, type Variables } from '../variables'
import { isPet } from './pet'

const own = ['RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT']
const remedy = 'start with torchrun, which sets all of them, or unset them'

/** PyTorch's `env://`: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, and what torchrun adds. */
export function readTorchrun(env: Variables): Claim | null {
  // Kubeflow sets RANK to the pod's number, beside PET_*, which say more.
  if (!env.has('LOCAL_RANK') && isPet(env)) return null
  const rank = env.whole('RANK'), worldSize = env.whole('WORLD_SIZE', 1)
  if (rank === undefined || worldSize === undefined) return null
  return { source: 'torchrun', rank, worldSize, localWorldSize: env.whole('LOCAL_WORLD_SIZE', 1), certain: env.has('TORCHELASTIC_RUN_ID'), finish: () => finish(env, rank, worldSize) }
}

function finish(env: Variables, rank: number, worldSize: number): RankEnvironment {
  const seen = env.set(own)
  const masterAddress = need(env.master(), 'MASTER_ADDR', seen, remedy)
  const masterPort = need(env.masterPort(), 'MASTER_PORT', seen, remedy)
  const restartCount = env.whole('TORCHELASTIC_RESTART_COUNT'), runId = env.text('TORCHELASTIC_RUN_ID')
  return {
    rank, worldSize, ...localPlace(env, rank, worldSize, masterAddress), masterAddress, masterPort, source: 'torchrun',
    ...(env.text('TORCHELASTIC_USE_AGENT_STORE')?.toLowerCase() === 'true' && { storeServed: true }),
    ...(restartCount !== undefined && { restartCount }), ...(runId !== undefined && { runId }),
  }
}

/** The place on this machine: as told; else one rank a pod, and elsewhere only where all ranks are on one machine. */
function localPlace(env: Variables, rank: number, worldSize: number, masterAddress: string): { localRank: number; localWorldSize: number } {
  const localRank = env.whole('LOCAL_RANK'), localWorldSize = env.whole('LOCAL_WORLD_SIZE', 1)
  if (localRank !== undefined && localWorldSize !== undefined) return { localRank, localWorldSize }
  if (worldSize === 1) return { localRank: 0, localWorldSize: 1 }
  if (localRank === undefined && localWorldSize === undefined && env.has('KUBERNETES_SERVICE_HOST')) return { localRank: 0, localWorldSize: 1 }
  if (isLoopback(masterAddress)) return { localRank: localRank ?? rank, localWorldSize: localWorldSize ?? worldSize }
  throw lacking(localRank === undefined ? 'LOCAL_RANK' : 'LOCAL_WORLD_SIZE', env.set(own), 'start with torchrun, which sets all of them, or set LOCAL_RANK and LOCAL_WORLD_SIZE to the place on this machine')
}

/** RANK, WORLD_SIZE or LOCAL_RANK without what belongs to it, where no launcher says more. */
export function refuseHalf(env: Variables): void {
  const seen = env.set(own)
  const without = ['RANK', 'WORLD_SIZE'].filter((name) => !env.has(name))
  if (env.has('RANK', 'WORLD_SIZE', 'LOCAL_RANK')) {
    throw environmentError(`${seen.join(', ')} ${seen.length === 1 ? 'is' : 'are'} set and ${without.join(' and ')} ${without.length === 1 ? 'is' : 'are'} not, so that the rank of this process is unknown`, [...seen, ...without], remedy)
  }
}
