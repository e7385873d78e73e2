import assert from 'node:assert/strict'
import { test } from 'node:test'
import { familyOf } from 'fettle/dist/models/families'
import { candidates } from 'fettle/dist/parallel/estimate/candidates'
import { footprint } from 'fettle/dist/parallel/estimate/footprint'
import { worldSize } from 'fettle/dist/parallel/mesh/mesh'
import { meshShape } from 'fettle/dist/parallel/mesh/shape'
import { messageSeconds, simulate, type Cluster } from 'fettle/dist/parallel/estimate/simulate'
import { messagesOf, sentBytes } from 'fettle/dist/parallel/estimate/traffic'
import { microBatches, type Workload } from 'fettle/dist/parallel/estimate/workload'
import { defaultMesh } from 'fettle/dist/plan/defaults'
import type { MeshPlan } from 'fettle/dist/plan/plan'

const config = { model_type: 'llama', vocab_size: 1024, hidden_size: 64, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 4, intermediate_size: 160, rms_norm_eps: 1e-5, max_position_embeddings: 256 }
const family = familyOf(config), architecture = family.architecture(config), model = { architecture, names: family.names(architecture) }
/** Of a layer: four square matrices, three of the MLP, two norms; outside: embedding and head, last norm. */
const inLayer = 4 * 64 * 64 + 3 * 64 * 160 + 2 * 64, outside = 2 * 1024 * 64 + 64, all = 4 * inLayer + outside
const work = (changes: Partial<Workload> = {}): Workload => ({ model, valueBytes: 4, rows: 8, rowTokens: 32, microRows: 1, adapterRank: null, recompute: false, ...changes })
const mesh = (changes: Partial<MeshPlan>): MeshPlan => ({ ...defaultMesh, ...changes })
const sharding = (degree: number, stage: 1 | 2 | 3, dp = 1): MeshPlan => mesh({ dp, sharding: { degree, stage } })
const sent = (workload: Workload, on: MeshPlan, axis: 'dp' | 'sharding' | 'pp' | 'tp', stage = 0): number => messagesOf(workload, on, stage).filter((message) => message.axis === axis).reduce((sum, message) => sum + sentBytes(message), 0)
const near = (got: number, wanted: number): void => assert.ok(Math.abs(got - wanted) <= 1e-9 * Math.abs(wanted), `${got} is not ${wanted}`)

const cluster: Cluster = { flops: 1e12, bandwidth: 1e11, memory: Infinity, overlap: 1, perNode: 4, inside: { alpha: 1e-6, beta: 1e-10 }, between: { alpha: 1e-5, beta: 1e-9 } }

test('bytes of data ranks: gradients are fp32 and go round a ring', () => {
  near(sent(work(), mesh({ dp: 2 }), 'dp'), 2 * (1 / 2) * 4 * all)
  near(sent(work({ valueBytes: 2 }), mesh({ dp: 4 }), 'dp'), 2 * (3 / 4) * 4 * all)
  near(sent(work({ adapterRank: 2 }), mesh({ dp: 2 }), 'dp'), 4 * 4 * 2 * (3 * 64 + 3 * 64 + 64 + 64 + 2 * 64 + 2 * 160 + 160 + 64))
})

test('bytes of sharding ranks by stage; replicas sum the shares', () => {
  // 8 rows on 2 ranks: 4 micro-batches.
  near(sent(work({ valueBytes: 2 }), sharding(2, 1), 'sharding'), (1 / 2) * (4 + 2) * all)
  near(sent(work(), sharding(2, 2), 'sharding'), (1 / 2) * (4 * (4 * 4 * inLayer + outside) + 4 * all))
  near(sent(work(), sharding(2, 3), 'sharding'), (1 / 2) * (4 * (4 * 4 * inLayer + outside) + 4 * outside + 4 * inLayer * (2 + 2 * 4 * 2)))
  near(sent(work(), sharding(2, 1, 2), 'dp'), 2 * (1 / 2) * 4 * all / 2)
})

test('bytes of tensor ranks and stages', () => {
  const hidden = 32 * 64 * 4
  near(sent(work(), mesh({ tp: 2 }), 'tp'), 8 * ((4 * 4 + 2) * hidden + 20 * 32))
  near(sent(work({ recompute: true }), mesh({ tp: 2 }), 'tp'), 8 * ((6 * 4 + 2) * hidden + 20 * 32))
  near(sent(work(), mesh({ pp: 2 }), 'pp', 0), 8 * hidden)
  near(sent(work(), mesh({ pp: 2, virtual: 2 }), 'pp', 1), 3 * 8 * hidden)
  const divided = mesh({ pp: 2, tp: 2, sequenceParallel: true })
  // The head costs more than a layer: three of four stand on the first stage.
  near(sent(work(), divided, 'tp'), 8 * ((4 * 3 + 1) * hidden + hidden / 2))
  near(sent(work(), divided, 'pp'), 8 * hidden / 2)
  assert.deepEqual(messagesOf(work(), defaultMesh, 0), [])
})

test('a tied head is summed between the first and the last stage', () => {
  const tied = { ...config, tie_word_embeddings: true }, of = familyOf(tied), tiedModel = { architecture: of.architecture(tied), names: of.names(of.architecture(tied)) }
  near(sent(work({ model: tiedModel }), mesh({ pp: 2 }), 'pp', 1), 8 * 32 * 64 * 4 + 4 * 1024 * 64)
})

test('a message takes alpha and its bytes; between nodes groups share a link', () => {
  const message = { kind: 'allReduce' as const, bytes: 4000, members: 4, stride: 1 }
  near(messageSeconds(message, cluster), 6 * (1e-6 + 1000 * 1e-10))
  near(messageSeconds({ ...message, kind: 'allGather' }, cluster), 3 * (1e-6 + 1000 * 1e-10))
  near(messageSeconds({ ...message, kind: 'send' }, cluster), 1e-6 + 4000 * 1e-10)
  near(messageSeconds({ ...message, kind: 'allToAll' }, cluster), 3 * 1e-6 + 3000 * 1e-10)
  // Four ranks, each on a node of its own, beside those of three other groups.
  near(messageSeconds({ ...message, stride: 4 }, cluster), 6 * (1e-5 + 1000 * 4e-9))
  // A ring through two nodes crosses once; an all-to-all sends half of all from each rank.
  near(messageSeconds({ ...message, members: 8 }, cluster), 14 * (1e-5 + 500 * 1e-9))
  near(messageSeconds({ ...message, members: 8, kind: 'allToAll' }, cluster), 7 * 1e-5 + 2000 * 4e-9)
})

test('memory of what trains: 16 bytes a value in fp32, 18 in bf16, and the shares of each stage', () => {
  const state = (workload: Workload, on: MeshPlan): number[] => { const { parameters, gradients, moments } = footprint(workload, on, 0); return [parameters, gradients, moments] }
  assert.deepEqual(state(work(), mesh({ dp: 2 })), [4 * all, 4 * all, 8 * all])
  assert.deepEqual(state(work({ valueBytes: 2 }), defaultMesh), [6 * all, 4 * all, 8 * all])
  assert.deepEqual(state(work(), sharding(4, 1)), [5 * all, 5 * all, 2 * all])
  assert.deepEqual(state(work(), sharding(4, 2)), [5 * all, 4 * (outside + 2 * inLayer) + all, 2 * all])
  assert.deepEqual(state(work(), sharding(4, 3)), [4 * (outside + 2 * inLayer) + all, 4 * (outside + 2 * inLayer) + all, 2 * all])
})

test('the first stage holds the records of as many micro-batches as there are stages', () => {
  const kept = (pp: number, rows: number): number => footprint(work({ rows }), mesh({ pp }), 0).activations
  assert.ok(kept(2, 8) > 0)
  near(kept(2, 8), kept(2, 2))
  near(kept(2, 8), 2 * kept(2, 1))
})

test('one rank: products and the optimizer, nothing else; sharding copies gradients', () => {
  const { seconds, compute, moving, bubble, tokensPerSecond, communication } = simulate(work(), defaultMesh, cluster)
  const matrices = 4 * (inLayer - 2 * 64) + 1024 * 64, attention = 4 * 2 * 32 * 64
  near(compute, 3 * 256 * (2 * matrices + attention) / 1e12)
  near(moving, 44 * all / 1e11)
  near(seconds, compute + moving)
  near(tokensPerSecond, 256 / seconds)
  assert.equal(bubble, 0)
  // Of each gradient that goes to its owner 16 bytes a value, and of the share 16 more.
  near(simulate(work(), sharding(2, 1), cluster).moving, (44 * all / 2 + 24 * all) / 1e11)
  for (const { bytes, exposed } of Object.values(communication)) assert.deepEqual([bytes, exposed], [0, 0])
})

test('frozen weights cost a third less, layers run again a third more', () => {
  const time = (changes: Partial<Workload>): number => simulate(work({ rowTokens: 1, rows: 256, ...changes }), defaultMesh, cluster).compute
  assert.ok(Math.abs(time({ adapterRank: 2 }) / time({}) - 2 / 3) < 0.01)
  const layers = 4 * (inLayer - 2 * 64), share = layers / (layers + 1024 * 64)
  assert.ok(Math.abs(time({ recompute: true }) / time({}) - (1 + share / 3)) < 0.01)
})

test('what is faster makes no step slower; what is hidden is not counted', () => {
  const meshes = [mesh({ dp: 2 }), sharding(2, 1), sharding(2, 2), sharding(2, 3), mesh({ tp: 2 }), mesh({ pp: 2 }), mesh({ pp: 2, virtual: 2 }), mesh({ dp: 2, pp: 2, tp: 2 })]
  const better: Partial<Cluster>[] = [{ flops: 2e12 }, { bandwidth: 2e11 }, { perNode: 8 }, { inside: { alpha: 1e-7, beta: 1e-10 } }, { inside: { alpha: 1e-6, beta: 1e-11 } }, { between: { alpha: 1e-6, beta: 1e-10 } }]
  for (const on of meshes) {
    const now = simulate(work(), on, cluster)
    for (const change of better) assert.ok(simulate(work(), on, { ...cluster, ...change }).seconds <= now.seconds, JSON.stringify({ on, change }))
    const apart = simulate(work(), on, { ...cluster, overlap: 0 })
    assert.ok(apart.seconds >= now.seconds)
    for (const { seconds, exposed } of Object.values(apart.communication)) near(exposed, seconds)
  }
})

test('more micro-batches wait less, more ranks train more tokens a second', () => {
  const bubbles = [2, 4, 8, 16].map((rows) => simulate(work({ rows }), mesh({ pp: 2 }), cluster).bubble)
  assert.deepEqual(bubbles, [1 / 3, 1 / 5, 1 / 9, 1 / 17])
  const rates = [1, 2, 4].map((dp) => simulate(work({ rows: 64 }), mesh({ dp }), cluster).tokensPerSecond)
  assert.ok(rates[0] < rates[1] && rates[1] < rates[2] && rates[2] < 4 * rates[0])
})

test('candidates fit, are all of the ranks, and come fastest first', () => {
  const memory = 8e6, found = candidates(work({ rows: 64 }), { ...cluster, memory }, 8)
  assert.ok(found.length > 10)
  for (const [i, { mesh: each, estimate }] of found.entries()) {
    assert.equal(worldSize(meshShape(each)), 8)
    assert.ok(each.tp <= 4 && Number.isInteger(microBatches(work({ rows: 64 }), each)) && estimate.memory.total <= memory)
    assert.ok(i === 0 || estimate.seconds >= found[i - 1].estimate.seconds)
  }
  assert.deepEqual(candidates(work({ rows: 64 }), { ...cluster, memory: 1e5 }, 8), [])
})
