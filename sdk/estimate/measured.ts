import type { Architecture, NameMap } from '../models/architecture'
import { storedWeights } from '../models/layout'
import { mostInFlight, scheduleOf } from '../parallel/pipeline/schedule'
import { holdings, type Workload } from '../parallel/estimate/workload'
import { messagesOf } from '../parallel/estimate/traffic'
import { messageSeconds, type Cluster } from '../parallel/estimate/simulate'
import { rangesOf, shareOf } from '../parallel/shares'
import { worldSize } from '../parallel/mesh/mesh'
import { dataRanks, meshShape } from '../parallel/mesh/shape'
import type { Plan } from '../plan/plan'
import type { Recompute } from '../train/walk'
import { Curves } from './curves'
import { stateOf, valueBytes } from './state'
import type { Steps } from './steps'
import type { MemoryParts, TimeParts } from './types'

/** A model as its record says, and how many values of it train. */
export interface Subject { readonly architecture: Architecture; readonly names: NameMap; readonly trainable: number }

/** What the plan recomputes, as the walk says it. */
export const recomputed: Readonly<Record<Plan['recompute'], Recompute>> = { none: false, core_attn: false, full_attn: 'attention', full: true }

/** Ranks of one machine speak through its memory: s a message and s a byte, as docs/parallel.md measures them. */
const loopback = { alpha: 83e-6, beta: 1 / 1.6e9 } as const

/** Memory of the rank of each stage, and time of a step, by what was measured on this machine. */
export function measuredForecast(plan: Plan, subject: Subject, steps: Steps, curves: Curves): { readonly stages: readonly MemoryParts[]; readonly time: TimeParts } {
  const workload = workloadOf(plan, subject, steps), stages = Array.from({ length: plan.mesh.pp }, (_, stage) => stage)
  return { stages: stages.map((stage) => memoryOf(plan, subject, steps, curves, workload, stage)), time: timeOf(plan, subject, steps, curves, workload) }
}

/** The step in the terms of the α–β model. */
export function workloadOf(plan: Plan, { architecture, names }: Subject, steps: Steps): Workload {
  const micros = Math.max(1, ...steps.sampled.map(({ length }) => length))
  return {
    model: { architecture, names }, valueBytes: valueBytes(plan), rows: micros * dataRanks(plan.mesh), rowTokens: Math.max(1, Math.round(steps.tokens / micros / dataRanks(plan.mesh))), microRows: 1,
    adapterRank: plan.method === 'sft' ? null : plan.lora?.rank ?? 1, recompute: plan.recompute === 'full',
  }
}

/** Layers of a stage, and micro-batches that it holds between their forward and their backward. */
function depthOf({ mesh }: Plan, architecture: Architecture, stage: number, micros: number): { readonly layers: number; readonly inFlight: number } {
  const ranges = rangesOf(architecture, mesh).filter((_, i) => i % mesh.pp === stage)
  return { layers: ranges.reduce((sum, { start, end }) => sum + end - start, 0), inFlight: mesh.pp === 1 ? 1 : mostInFlight(scheduleOf(mesh.pp, mesh.virtual, Math.max(1, Math.min(micros, 2 * mesh.pp)), stage)) }
}

function memoryOf(plan: Plan, subject: Subject, steps: Steps, curves: Curves, workload: Workload, stage: number): MemoryParts {
  const { architecture, names, trainable } = subject, { mesh } = plan, recompute = recomputed[plan.recompute]
  const share = shareOf(architecture, mesh, { pp: stage, tp: 0 }), micros = Math.max(1, ...steps.sampled.map(({ length }) => length))
  const state = stateOf(plan, architecture, names, trainable * adapterShare(workload, plan, stage), mesh.pp * mesh.tp === 1 ? undefined : share)
  const { layers, inFlight } = depthOf(plan, architecture, stage, micros)
  const { activations, workspace, head } = curves.bytes(steps.largest, recompute, layers * inFlight, layers)
  const parts = { process: curves.base, weights: state.weights, gradients: state.gradients, optimizer: state.optimizer, activations, workspace, head: stage === mesh.pp - 1 ? head : 0, messages: messageBytes(workload, plan, stage), saving: savingBytes(plan, subject, stage) }
  return { ...parts, total: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0) }
}

/** What of the adapter a stage holds. */
function adapterShare(workload: Workload, { mesh }: Plan, stage: number): number {
  const trained = (of: typeof mesh, at: number): number => holdings(workload, of, at).reduce((sum, holding) => sum + holding.trained, 0)
  return mesh.pp * mesh.tp === 1 ? 1 : trained(mesh, stage) / trained({ ...mesh, pp: 1, tp: 1, virtual: 1 }, 0)
}

/** Gradients on their way between sharding ranks: of the two largest parts what is sent and what comes, and the sum of one; what layers keep is free again by then. Replicas sum them where they are. */
function messageBytes(workload: Workload, { mesh }: Plan, stage: number): number {
  if (mesh.sharding.degree === 1 || workload.adapterRank !== null) return 0
  const [first, second = 0] = holdings(workload, mesh, stage).map(({ trained }) => trained).sort((a, b) => b - a)
  return 8 * (first + second) + 4 * first
}

/** A rank alone writes its weights from where they lie; the first of several puts the parts of each together, the largest in three buffers. */
function savingBytes(plan: Plan, { architecture, names }: Subject, stage: number): number {
  if (plan.method !== 'sft' || worldSize(meshShape(plan.mesh)) === 1 || stage > 0) return 0
  return 3 * 4 * Math.max(...storedWeights(architecture, names).flatMap(({ shape, parts }) => parts.map(({ rows }) => rows * shape.slice(1).reduce((a, b) => a * b, 1))))
}

/** s of a step: its passes on the busiest rank, what ranks say to each other, and the update. */
function timeOf(plan: Plan, { architecture, trainable }: Subject, steps: Steps, curves: Curves, workload: Workload): TimeParts {
  const { mesh } = plan, recompute = recomputed[plan.recompute], stages = Array.from({ length: mesh.pp }, (_, stage) => stage)
  const sums = steps.sampled.map((micros) => {
    const each = micros.map((micro) => curves.seconds(micro, recompute))
    const total = (of: (seconds: (typeof each)[number]) => number): number => each.reduce((sum, seconds) => sum + of(seconds), 0)
    return { forward: total(({ forward }) => forward), backward: total(({ backward }) => backward), head: total(({ head }) => head), embed: total(({ embed }) => embed), micros: micros.length }
  })
  const mean = (of: (sum: (typeof sums)[number]) => number): number => sums.reduce((all, sum) => all + of(sum), 0) / Math.max(1, sums.length)
  const slowest = stages.map((stage) => {
    const { layers } = depthOf(plan, architecture, stage, 1), last = stage === mesh.pp - 1
    return { forward: layers * mean((sum) => sum.forward), backward: layers * mean((sum) => sum.backward), head: last ? mean((sum) => sum.head) : 0, embed: stage === 0 ? mean((sum) => sum.embed) : 0 }
  }).reduce((a, b) => (b.forward + b.backward + b.head > a.forward + a.backward + a.head ? b : a))
  const micros = mean((sum) => sum.micros), waiting = (slowest.forward + slowest.backward + slowest.head) * (mesh.pp - 1) / mesh.virtual / Math.max(1, micros)
  const cluster: Cluster = { flops: 1, bandwidth: 1, memory: 0, overlap: 0, perNode: 1e9, inside: loopback, between: loopback }
  const messages = messagesOf(workload, mesh, 0).reduce((sum, message) => sum + message.count * messageSeconds(message, cluster), 0)
  const update = curves.update * trainable / (mesh.sharding.degree * mesh.pp * mesh.tp)
  const parts = { embed: slowest.embed, forward: slowest.forward, head: slowest.head, backward: slowest.backward, waiting, messages, update }
  return { ...parts, total: Object.values(parts).reduce((sum, seconds) => sum + seconds, 0) }
}
