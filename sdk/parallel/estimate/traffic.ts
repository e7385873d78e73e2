import type { MeshPlan } from '../../plan/plan'
import type { Axis } from '../mesh/mesh'
import { holdings, microBatches, type Workload } from './workload'

/** One kind of message of a step, and how often a rank takes part in it. */
export interface Message {
  readonly axis: Axis
  readonly kind: 'allReduce' | 'allGather' | 'allToAll' | 'send'
  /** Ranks of the group, and how far apart two neighbours are by number. */
  readonly members: number
  readonly stride: number
  /** Of the whole tensor. */
  readonly bytes: number
  readonly count: number
  /** What it may run beside: nothing, the backward of the last micro-batch, all backwards, or all passes. */
  readonly behind: 'nothing' | 'lastBackward' | 'backward' | 'passes'
}

/**
 * Bytes that a rank sends, by the usual algorithms: a ring's all-reduce is a reduce-scatter and an all-gather, each of
 * (n − 1)/n of the tensor (Patarasu and Yuan 2009).
 */
export function sentBytes({ kind, bytes, members, count }: Message): number {
  if (kind === 'send') return count * bytes
  return count * bytes * ((members - 1) / members) * (kind === 'allReduce' ? 2 : 1)
}

/** All messages of a step in which the first tensor rank of a stage takes part. Loss and norm (three numbers a step) are left out. */
export function messagesOf(workload: Workload, mesh: MeshPlan, stage: number): Message[] {
  return [...tensorMessages(workload, mesh, stage), ...pipeMessages(workload, mesh, stage), ...dataMessages(workload, mesh, stage)].filter(({ members, count, bytes }) => members > 1 && count > 0 && bytes > 0)
}

/** Two sums of hidden states a layer and pass; one for the embedding; for the head 20 bytes a row and a gradient. */
function tensorMessages(workload: Workload, mesh: MeshPlan, stage: number): Message[] {
  const { model: { architecture }, microRows, rowTokens, valueBytes } = workload, micros = microBatches(workload, mesh)
  const tokens = microRows * rowTokens, hidden = tokens * architecture.hiddenSize * valueBytes
  const layers = holdings(workload, mesh, stage).filter(({ layer }) => layer !== null).length
  const sum = (bytes: number, count: number): Message => ({ axis: 'tp', kind: 'allReduce', members: mesh.tp, stride: 1, bytes, count: count * micros, behind: 'nothing' })
  return [
    sum(hidden, layers * (workload.recompute ? 6 : 4) + (stage === 0 ? 1 : 0)),
    // Behind the head: largest logit (fp32), sum and own logit (fp32), first place of the largest (int64), gradient of the hidden states.
    ...(stage === mesh.pp - 1 ? [sum(4 * tokens, 1), sum(8 * tokens, 2), sum(hidden, 1)] : []),
    // Divided tokens are put together before the head, and their gradients before the embedding's. A layer's gather and sum are an all-reduce in two halves.
    ...(mesh.sequenceParallel ? [{ ...sum(hidden, (stage === 0 ? 1 : 0) + (stage === mesh.pp - 1 ? 1 : 0)), kind: 'allGather' as const }] : []),
  ]
}

/** Hidden states go to the next range of layers, their gradients to the one before. */
function pipeMessages(workload: Workload, mesh: MeshPlan, stage: number): Message[] {
  const { model: { architecture }, microRows, rowTokens, valueBytes } = workload, micros = microBatches(workload, mesh)
  const ends = holdings(workload, mesh, stage).filter(({ atBothEnds }) => atBothEnds)
  // Where tensor ranks divide the tokens, each passes its own on.
  const rows = mesh.sequenceParallel ? Math.ceil(microRows * rowTokens / mesh.tp) : microRows * rowTokens
  const sends = 2 * mesh.virtual - (stage === 0 ? 1 : 0) - (stage === mesh.pp - 1 ? 1 : 0)
  return [
    { axis: 'pp', kind: 'send', members: mesh.pp, stride: mesh.tp, bytes: rows * architecture.hiddenSize * valueBytes, count: sends * micros, behind: 'nothing' },
    ...ends.map(({ trained }): Message => ({ axis: 'pp', kind: 'allReduce', members: 2, stride: mesh.tp * (mesh.pp - 1), bytes: 4 * trained, count: mesh.pp > 1 ? 1 : 0, behind: 'nothing' })),
  ]
}

function dataMessages(workload: Workload, mesh: MeshPlan, stage: number): Message[] {
  const all = holdings(workload, mesh, stage), { sharding, dp } = mesh, stride = mesh.tp * mesh.pp
  const total = (of: 'trained' | 'frozen', inLayers: boolean): number => all.filter(({ layer }) => (layer !== null) === inLayers).reduce((sum, each) => sum + each[of], 0)
  const layers = all.filter(({ layer }) => layer !== null).length, micros = microBatches(workload, mesh)
  const along = (axis: 'dp' | 'sharding', kind: Message['kind'], bytes: number, count = 1, behind: Message['behind'] = 'nothing'): Message =>
    ({ axis, kind, members: axis === 'dp' ? dp : sharding.degree, stride: axis === 'dp' ? stride * sharding.degree : stride, bytes, count, behind })
  // Two buffers keep the last two layers of a pass for the next one; after an update trained values are stale.
  const kept = 2 * micros * Math.max(0, layers - 2)
  const gathers = (of: 'trained' | 'frozen'): Message =>
    along('sharding', 'allGather', workload.valueBytes * total(of, true) / layers, of === 'frozen' ? kept : kept + Math.min(2, layers), 'passes')
  if (workload.adapterRank !== null || sharding.degree === 1) {
    // All-reduce of gradients over all ranks with rows of their own: layers leave while the last backward goes on.
    const group: Omit<Message, 'bytes' | 'count' | 'behind'> = { axis: sharding.degree > 1 ? 'sharding' : 'dp', kind: 'allReduce', members: dp * sharding.degree, stride }
    const layer = 4 * total('trained', true) / layers
    return [
      { ...group, bytes: layer, count: layers - 1, behind: 'lastBackward' }, { ...group, bytes: layer, count: 1, behind: 'nothing' }, { ...group, bytes: 4 * total('trained', false), count: 1, behind: 'nothing' },
      ...(sharding.stage === 3 ? [gathers('frozen')] : []),
    ]
  }
  const { stage: level, degree } = sharding, layer = 4 * total('trained', true) / layers, ends = total('trained', false)
  const reduces = level >= 2 ? along('sharding', 'allToAll', layer, layers * micros, level === 3 ? 'passes' : 'backward') : along('sharding', 'allToAll', layer, layers, 'lastBackward')
  return [
    reduces, along('sharding', 'allToAll', 4 * ends), along('sharding', 'allGather', workload.valueBytes * (ends + (level < 3 ? total('trained', true) : 0))),
    ...(level === 3 ? [gathers('trained')] : []),
    along('dp', 'allReduce', 4 * (total('trained', true) + ends) / degree),
  ]
}
