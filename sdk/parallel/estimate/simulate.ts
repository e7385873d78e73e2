import type { MeshPlan } from '../../plan/plan'
import { footprint, type Footprint } from './footprint'
import { axes, type Axis } from '../mesh/mesh'
import { bubbleOf } from '../pipeline/schedule'
import { messagesOf, sentBytes, type Message } from './traffic'
import { holdings, microBatches, type Workload } from './workload'

/** A message of n bytes takes alpha + n · beta (Hockney's model). */
export interface Link {
  /** s a message. */
  readonly alpha: number
  /** s a byte. */
  readonly beta: number
}

/** Devices, and what connects them. */
export interface Cluster {
  /** FLOP/s that a device reaches in matrix products of this size, not its peak. */
  readonly flops: number
  /** Bytes/s of its memory. */
  readonly bandwidth: number
  /** Bytes that a rank may take. */
  readonly memory: number
  /** Share of a message that may run beside products: 1 where it has engines of its own, 0 where it takes the same cores. */
  readonly overlap: number
  readonly perNode: number
  /** From a device to another of its node. */
  readonly inside: Link
  /** From a node to another; its devices share it. */
  readonly between: Link
}

/** A step as the model sees it. */
export interface Estimate {
  readonly seconds: number
  /** Products of the busiest stage. */
  readonly compute: number
  /** Memory that goes by beside products: AdamW, and gradients that are copied, cleared and summed on the way to their owners. */
  readonly moving: number
  /** Of the rank that sends most: bytes, s on the wire, and s of them that nothing hides. */
  readonly communication: Readonly<Record<Axis, { readonly bytes: number; readonly seconds: number; readonly exposed: number }>>
  /** Share of the passes in which a stage waits for others. */
  readonly bubble: number
  readonly tokensPerSecond: number
  /** Of the stage that needs most. */
  readonly memory: Footprint
}

/**
 * What a step takes on a mesh, by an α–β model. It takes for granted:
 * - rows of one length, all tokens supervised; attention sees half a row on average;
 * - every device runs products at `flops`, whatever their size; an adapter's own products cost nothing;
 * - collectives are rings, all-to-alls direct; groups of one node's ranks stand beside each other and share its link;
 * - what a tensor rank sums and a stage passes on is waited for; gradients and gathered layers run beside products as far
 *   as these last, but for the layer that comes last and what stands outside the layers;
 * - the costliest stage sets the pace of the pipeline; the optimizer, and what copies gradients, waits for memory alone.
 */
export function simulate(workload: Workload, mesh: MeshPlan, cluster: Cluster): Estimate {
  const micros = microBatches(workload, mesh), bubble = bubbleOf(mesh.pp, mesh.virtual, micros)
  const stages = Array.from({ length: mesh.pp }, (_, stage) => stageTimes(workload, mesh, cluster, stage, micros))
  const most = (of: (stage: (typeof stages)[number]) => number): number => Math.max(...stages.map(of))
  const passes = most(({ compute, waited }) => compute + waited) / (1 - bubble), moving = most((each) => each.moving)
  const seconds = passes + most(({ data }) => data) + moving
  const communication = Object.fromEntries(axes.map((axis) => [axis, { bytes: most(({ of }) => of[axis].bytes), seconds: most(({ of }) => of[axis].seconds), exposed: most(({ of }) => of[axis].exposed) }])) as Estimate['communication']
  const memory = stages.map((_, stage) => footprint(workload, mesh, stage)).reduce((a, b) => (b.total > a.total ? b : a))
  return { seconds, compute: most(({ compute }) => compute), moving, communication, bubble, tokensPerSecond: workload.rows * workload.rowTokens / seconds, memory }
}

interface StageTimes {
  readonly compute: number
  /** Of tensor ranks and neighbours, inside the passes. */
  readonly waited: number
  /** Of data ranks, behind the passes. */
  readonly data: number
  readonly moving: number
  readonly of: Record<Axis, { bytes: number; seconds: number; exposed: number }>
}

function stageTimes(workload: Workload, mesh: MeshPlan, cluster: Cluster, stage: number, micros: number): StageTimes {
  const { forward, backward } = passFlops(workload, mesh, stage), compute = micros * (forward + backward) / cluster.flops
  const windows = { nothing: 0, lastBackward: backward / cluster.flops, backward: micros * backward / cluster.flops, passes: compute }
  const messages = messagesOf(workload, mesh, stage).map((message) => ({ ...message, seconds: message.count * messageSeconds(message, cluster) }))
  const of = Object.fromEntries(axes.map((axis) => [axis, { bytes: 0, seconds: 0, exposed: 0 }])) as StageTimes['of']
  for (const behind of ['nothing', 'lastBackward', 'backward', 'passes'] as const) {
    const group = messages.filter((message) => message.behind === behind), total = group.reduce((sum, { seconds }) => sum + seconds, 0)
    const shown = total === 0 ? 0 : 1 - Math.min(total * cluster.overlap, windows[behind]) / total
    for (const message of group) {
      const sum = of[message.axis]
      sum.bytes += sentBytes(message)
      sum.seconds += message.seconds
      sum.exposed += message.seconds * shown
    }
  }
  return { compute, waited: of.tp.exposed + of.pp.exposed, data: of.dp.exposed + of.sharding.exposed, moving: movedBytes(workload, mesh, stage, messages) / cluster.bandwidth, of }
}

/** Of one micro-batch on one rank: two a value and token forward; backward twice that, half of it where weights are frozen. */
function passFlops(workload: Workload, mesh: MeshPlan, stage: number): { readonly forward: number; readonly backward: number } {
  const { model: { architecture: a }, microRows, rowTokens, adapterRank, recompute } = workload, tokens = microRows * rowTokens
  const all = holdings(workload, mesh, stage), layers = all.filter(({ layer }) => layer !== null)
  const products = (of: typeof all): number => 2 * tokens * of.reduce((sum, { multiplied }) => sum + multiplied, 0)
  const attention = layers.length * tokens * 2 * rowTokens * (a.heads / mesh.tp) * a.headDim
  const linear = products(all), again = recompute ? products(layers) + attention : 0
  return { forward: linear + attention, backward: (adapterRank === null ? 2 : 1) * linear + 2 * attention + again }
}

/**
 * Bytes of memory that the update moves: gradients zeroed, squared and clipped, AdamW (four read, three written), the copy in a
 * shorter type; and of each gradient that goes to its owner: copied, cleared, read again as it comes, added to the share.
 */
function movedBytes(workload: Workload, mesh: MeshPlan, stage: number, messages: readonly Message[]): number {
  const trained = holdings(workload, mesh, stage).reduce((sum, each) => sum + each.trained, 0), { degree } = mesh.sharding
  const share = workload.adapterRank === null ? trained / degree : trained
  const reduced = messages.filter(({ kind }) => kind === 'allToAll').reduce((sum, { bytes, count }) => sum + bytes * count, 0)
  return share * (44 + (workload.valueBytes === 4 ? 0 : 4 + workload.valueBytes)) + reduced * (4 + 4 / degree)
}

/** s of one message. A group whose ranks do not stand in one node goes over the link between nodes, beside the node's other groups. */
export function messageSeconds({ kind, bytes, members, stride }: Pick<Message, 'kind' | 'bytes' | 'members' | 'stride'>, { perNode, inside, between }: Cluster): number {
  const crosses = stride * members > perNode, { alpha } = crosses ? between : inside
  // So many groups of a node pass through its link at once.
  const beta = crosses ? Math.max(inside.beta, between.beta * Math.min(stride, perNode)) : inside.beta
  const inNode = Math.max(1, Math.floor(perNode / stride)), away = crosses ? (members - inNode) / members : (members - 1) / members
  switch (kind) {
    case 'send': return alpha + bytes * beta
    case 'allGather': return (members - 1) * (alpha + bytes / members * beta)
    case 'allReduce': return 2 * (members - 1) * (alpha + bytes / members * beta)
    case 'allToAll': return (members - 1) * alpha + bytes * away * (crosses ? between.beta * perNode : inside.beta)
  }
}
