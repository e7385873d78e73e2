import { footprint } from '../parallel/estimate/footprint'
import { simulate, type Cluster } from '../parallel/estimate/simulate'
import type { Workload } from '../parallel/estimate/workload'
import { dataRanks } from '../parallel/mesh/shape'
import type { Plan } from '../plan/plan'
import { assumed, type CatalogueDevice } from './catalogue'
import type { Subject } from './measured'
import { stateOf, valueBytes } from './state'
import { shareOf } from '../parallel/shares'
import { stepMemory } from '../models/memory'
import type { Steps } from './steps'
import type { MemoryParts, TimeParts } from './types'

/** Of a layer's forward, the attention half's share. */
const attentionShare = 0.4
/** Logits that exist at once, with their gradient. */
const headBytes = 192 << 20

/** Memory of the rank of each stage, and time of a step, from a device's data sheet and the assumptions beside it. */
export function deviceForecast(plan: Plan, subject: Subject, steps: Steps, device: CatalogueDevice): { readonly stages: readonly MemoryParts[]; readonly time: TimeParts } {
  const cluster = clusterOf(plan, device), workload = workloadOn(plan, subject, steps), { compute, moving, communication, bubble, seconds } = simulate(workload, plan.mesh, cluster)
  const exposed = Object.values(communication).reduce((sum, each) => sum + each.exposed, 0)
  const forward = compute / (plan.method === 'sft' ? 3 : 2), waiting = Math.max(0, seconds - compute - moving - exposed)
  const time = { embed: 0, forward, head: 0, backward: compute - forward + (plan.recompute === 'full_attn' ? attentionShare * forward : 0), waiting: bubble > 0 ? waiting : 0, messages: exposed, update: moving }
  return { stages: Array.from({ length: plan.mesh.pp }, (_, stage) => memoryOn(plan, subject, steps, workload, stage)), time: { ...time, total: Object.values(time).reduce((sum, part) => sum + part, 0) } }
}

function clusterOf(plan: Plan, device: CatalogueDevice): Cluster {
  const peak = valueBytes(plan) === 2 || plan.precision === 'fp16' ? device.bf16 : device.fp32
  return {
    flops: peak * assumed.efficiency, bandwidth: device.bandwidth * assumed.bandwidth, memory: device.memory * assumed.usable, overlap: 1, perNode: device.perNode,
    inside: { alpha: assumed.latency.inside, beta: 1 / (device.link * assumed.bandwidth) }, between: { alpha: assumed.latency.between, beta: 1 / assumed.network },
  }
}

/** Micro-batches as rows of one length: as many of them, with as many tokens. */
function workloadOn(plan: Plan, { architecture, names }: Subject, steps: Steps): Workload {
  const micros = Math.max(1, Math.round(steps.sampled.reduce((sum, each) => sum + each.length, 0) / Math.max(1, steps.sampled.length))), ranks = dataRanks(plan.mesh)
  return {
    model: { architecture, names }, valueBytes: valueBytes(plan), rows: micros * ranks, microRows: 1, rowTokens: Math.max(1, Math.round(steps.tokens / micros / ranks)),
    adapterRank: plan.method === 'sft' ? null : plan.lora?.rank ?? 1, recompute: plan.recompute === 'full',
  }
}

function memoryOn(plan: Plan, { architecture, names, trainable }: Subject, steps: Steps, workload: Workload, stage: number): MemoryParts {
  const { mesh } = plan, state = stateOf(plan, architecture, names, trainable / (mesh.pp * mesh.tp), mesh.pp * mesh.tp === 1 ? undefined : shareOf(architecture, mesh, { pp: stage, tp: 0 }))
  const { tokens, longest, sequences } = steps.largest, size = { tokens, longest, bytesPerValue: valueBytes(plan), prefix: { places: plan.prefix?.tokens ?? 0, sequences } }
  const { activations: average, transit } = footprint(workload, mesh, stage)
  // The model of activations is of an average micro-batch; what must fit is the largest. Plain blocks keep what fused ones make again.
  const scale = stepMemory(architecture, { ...size, recompute: plan.recompute === 'full' ? true : plan.recompute === 'full_attn' ? 'attention' : false }) / stepMemory(architecture, { ...size, tokens: workload.rowTokens, longest: workload.rowTokens, recompute: workload.recompute })
  const parts = { process: assumed.context, weights: state.weights, gradients: state.gradients, optimizer: state.optimizer, activations: 2 * average * scale, workspace: 0, head: stage === mesh.pp - 1 ? headBytes : 0, messages: transit, saving: 0 }
  return { ...parts, total: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0) }
}

/** Bytes that a rank may take of a device. */
export function usableMemory(device: CatalogueDevice): number { return device.memory * assumed.usable }
