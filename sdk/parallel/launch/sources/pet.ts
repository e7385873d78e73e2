import { claimOfNode, type NodeEnvironment } from '../node'
import type { Claim } from '../rank'
import { environmentError, need, type Variables } from '../variables'

const own = ['PET_NNODES', 'PET_NPROC_PER_NODE', 'PET_NODE_RANK', 'PET_MASTER_ADDR', 'PET_MASTER_PORT', 'PET_RDZV_ENDPOINT', 'PET_RDZV_BACKEND']

/** torchrun's settings for one node, as Kubeflow's Trainer and its older PyTorchJob put them into each pod. */
export function isPet(env: Variables): boolean { return env.has('PET_NNODES', 'PET_NODE_RANK', 'PET_NPROC_PER_NODE') }

/** One process a pod: a rank where the pod has one, else a node whose ranks `fettle launch` starts. */
export function readPet(env: Variables): Claim | null { return isPet(env) ? claimOfNode(petNode(env)) : null }

/** A node's place by PET_*; master address and port also by MASTER_*, which PyTorchJob uses. */
export function petNode(env: Variables): NodeEnvironment {
  const seen = env.set(own)
  const count = env.text('PET_NNODES') ?? '1'
  const range = /^(\d+):(\d+)$/.exec(count)
  if (range && range[1] !== range[2]) {
    throw environmentError(`PET_NNODES is ${count}: an elastic number of nodes, whose ranks only an elastic agent gives out`, ['PET_NNODES'], 'give one number of nodes, or start with torchrun --no-python fettle run …')
  }
  const nodes = range ? Number(range[1]) : env.whole('PET_NNODES', 1) ?? 1
  const node = need(env.whole('PET_NODE_RANK') ?? (nodes === 1 ? 0 : undefined), 'PET_NODE_RANK', seen, 'set it to the number of this node, or start with torchrun --no-python fettle run …, whose rendezvous gives it out')
  if (node >= nodes) throw environmentError(`expected PET_NODE_RANK below PET_NNODES ${nodes}, got ${node}`, ['PET_NODE_RANK', 'PET_NNODES'], 'correct one of them')
  const endpoint = endpointOf(env)
  const masterAddress = env.host('PET_MASTER_ADDR') ?? env.host('MASTER_ADDR') ?? endpoint?.host ?? (nodes === 1 ? '127.0.0.1' : undefined)
  return {
    node, nodes, ranksPerNode: perNode(env), source: 'pet',
    masterAddress: need(masterAddress, 'PET_MASTER_ADDR', seen, 'set it to the host of node 0'),
    masterPort: env.port('PET_MASTER_PORT') ?? env.port('MASTER_PORT') ?? endpoint?.port ?? 29500,
  }
}

function perNode(env: Variables): number | null {
  const text = env.text('PET_NPROC_PER_NODE') ?? '1'
  return ['auto', 'gpu', 'cpu'].includes(text) ? null : env.whole('PET_NPROC_PER_NODE', 1) ?? 1
}

function endpointOf(env: Variables): { host: string; port: number | undefined } | null {
  const text = env.text('PET_RDZV_ENDPOINT')
  if (text === undefined) return null
  const match = /^(\[[\da-f:]+\]|[\w.-]+)(?::(\d+))?$/i.exec(text)
  const port = match?.[2] === undefined ? undefined : Number(match[2])
  if (!match || (port !== undefined && (port < 1 || port > 65535))) throw environmentError(`expected host:port in PET_RDZV_ENDPOINT, got ${JSON.stringify(text)}`, ['PET_RDZV_ENDPOINT'], 'correct it, or set PET_MASTER_ADDR and PET_MASTER_PORT')
  return { host: match[1].replace(/^\[|\]$/g, ''), port }
}
