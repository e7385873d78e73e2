import { claimOfNode, type NodeEnvironment } from '../node'
import { defaultPort } from '../master'
import { isLoopback, loopback, type Claim, type RankEnvironment } from '../rank'
import { environmentError, need, type Variables } from '../variables'

const remedy = 'set FETTLE_RANK and FETTLE_WORLD_SIZE, and on several machines FETTLE_LOCAL_RANK, FETTLE_LOCAL_WORLD_SIZE and FETTLE_MASTER_ADDR too; or unset them all'

/** Fettle's own variables, which nothing beats: of a rank, or of a node. */
export function readFettle(env: Variables): Claim | null {
  if (!env.has('FETTLE_RANK', 'FETTLE_WORLD_SIZE')) return env.has('FETTLE_NODES') ? claimOfNode(fettleNode(env)) : null
  const seen = env.set(['FETTLE_RANK', 'FETTLE_WORLD_SIZE', 'FETTLE_LOCAL_RANK', 'FETTLE_LOCAL_WORLD_SIZE', 'FETTLE_MASTER_ADDR', 'FETTLE_MASTER_PORT'])
  const rank = need(env.whole('FETTLE_RANK'), 'FETTLE_RANK', seen, remedy)
  const worldSize = need(env.whole('FETTLE_WORLD_SIZE', 1), 'FETTLE_WORLD_SIZE', seen, remedy)
  return { source: 'fettle', rank, worldSize, certain: true, finish: () => finish(env, rank, worldSize, seen) }
}

/** Without a master address all ranks are on this machine. */
function finish(env: Variables, rank: number, worldSize: number, seen: readonly string[]): RankEnvironment {
  const masterAddress = env.master() ?? loopback
  const alone = worldSize === 1 || isLoopback(masterAddress)
  const localRank = need(env.whole('FETTLE_LOCAL_RANK') ?? (alone ? rank : undefined), 'FETTLE_LOCAL_RANK', seen, remedy)
  const localWorldSize = need(env.whole('FETTLE_LOCAL_WORLD_SIZE', 1) ?? (alone ? worldSize : undefined), 'FETTLE_LOCAL_WORLD_SIZE', seen, remedy)
  if (localWorldSize < worldSize && isLoopback(masterAddress)) {
    throw environmentError(`${localWorldSize} of ${worldSize} ranks are on this machine, and the master address ${masterAddress} is another machine on each`, ['FETTLE_MASTER_ADDR'], 'set FETTLE_MASTER_ADDR to the host of rank 0')
  }
  const masterPort = env.masterPort() ?? defaultPort
  const restartCount = env.whole('FETTLE_RESTART_COUNT'), runId = env.text('FETTLE_RUN_ID')
  return { rank, worldSize, localRank, localWorldSize, masterAddress, masterPort, source: 'fettle', ...(restartCount !== undefined && { restartCount }), ...(runId !== undefined && { runId }) }
}

/** A node by FETTLE_NODES and its like; the number of a pod of a Kubernetes Indexed Job is its JOB_COMPLETION_INDEX. */
export function fettleNode(env: Variables): NodeEnvironment {
  const seen = env.set(['FETTLE_NODES', 'FETTLE_NODE_RANK', 'FETTLE_RANKS_PER_NODE', 'FETTLE_MASTER_ADDR', 'FETTLE_MASTER_PORT'])
  const nodes = env.whole('FETTLE_NODES', 1)!
  const index = env.whole('FETTLE_NODE_RANK') ?? env.whole('JOB_COMPLETION_INDEX') ?? (nodes === 1 ? 0 : undefined)
  const node = need(index, 'FETTLE_NODE_RANK', seen, 'set it to the number of this machine, from 0; in a Kubernetes Indexed Job JOB_COMPLETION_INDEX is taken')
  if (node >= nodes) throw environmentError(`expected a node below FETTLE_NODES ${nodes}, got ${node}`, ['FETTLE_NODES', env.has('FETTLE_NODE_RANK') ? 'FETTLE_NODE_RANK' : 'JOB_COMPLETION_INDEX'], 'correct one of them')
  const masterAddress = need(env.host('FETTLE_MASTER_ADDR') ?? (nodes === 1 ? loopback : undefined), 'FETTLE_MASTER_ADDR', seen, 'set it to the host of node 0')
  return { node, nodes, ranksPerNode: env.whole('FETTLE_RANKS_PER_NODE', 1) ?? 1, masterAddress, masterPort: env.port('FETTLE_MASTER_PORT') ?? defaultPort, source: 'fettle' }
}
