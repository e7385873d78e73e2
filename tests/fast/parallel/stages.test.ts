import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlanError } from 'fettle'
import type { Architecture } from 'fettle/dist/models/architecture'
import { stageCosts, stageLayers, type EndCosts } from 'fettle/dist/parallel/pipeline/stages'

const none = { embedding: 0, head: 0 }
const counts = (layers: number, stages: number, ends: EndCosts = none): number[] => stageLayers(layers, stages, ends).map(({ start, end }) => end - start)

test('layers are cut evenly, the rest to later stages, where fewer batches are in flight', () => {
  assert.deepEqual(stageLayers(8, 2, none), [{ start: 0, end: 4 }, { start: 4, end: 8 }])
  assert.deepEqual(counts(5, 2), [2, 3])
  assert.deepEqual(counts(30, 4), [7, 7, 8, 8])
  assert.deepEqual(counts(3, 3), [1, 1, 1])
  assert.deepEqual(counts(7, 1), [7])
})

test('a stage with an end that costs holds fewer layers, but one at least', () => {
  assert.deepEqual(counts(12, 4, { embedding: 0, head: 3 }), [3, 4, 4, 1])
  assert.deepEqual(counts(9, 3, { embedding: 1, head: 2 }), [3, 4, 2])
  assert.deepEqual(counts(4, 3, { embedding: 0, head: 100 }), [1, 2, 1])
  assert.deepEqual(counts(4, 2, { embedding: 50, head: 0 }), [1, 3])
})

test('no cut has a cheaper costliest stage: against all cuts', () => {
  const all = (layers: number, stages: number): number[][] => (stages === 1 ? [[layers]] : Array.from({ length: layers - stages + 1 }, (_, i) => all(layers - i - 1, stages - 1).map((rest) => [i + 1, ...rest])).flat())
  for (let layers = 1; layers <= 9; layers++) for (let stages = 1; stages <= layers; stages++) for (const ends of [none, { embedding: 0.5, head: 1.7 }, { embedding: 3, head: 0.2 }, { embedding: 0, head: 6 }]) {
    const worst = (cut: number[]): number => Math.max(...cut.map((count, stage) => count + (stage === 0 ? ends.embedding : 0) + (stage === stages - 1 ? ends.head : 0)))
    const got = stageLayers(layers, stages, ends)
    assert.deepEqual([got[0].start, got.at(-1)!.end], [0, layers])
    assert.ok(got.every(({ start, end }, i) => end > start && (i === 0 || got[i - 1].end === start)))
    assert.equal(worst(counts(layers, stages, ends)), Math.min(...all(layers, stages).map(worst)))
  }
})

test('more stages than layers are refused', () => {
  assert.throws(() => stageLayers(2, 3, none), (error) => error instanceof PlanError && error.code === 'mesh.layers' && /the model has 2; try 2 stages/.test(error.message))
})

test('the head costs what its matrix multiplies', () => {
  const llama = { vocabSize: 32000, hiddenSize: 4096, heads: 32, kvHeads: 32, headDim: 128, intermediateSize: 11008, embedding: { dim: 4096 }, mlp: { kind: 'gated' } } as Architecture
  const { embedding, head } = stageCosts(llama)
  assert.equal(embedding, 0)
  assert.equal(head, 32000 * 4096 / (4 * 4096 ** 2 + 3 * 4096 * 11008))
  const opt = { ...llama, embedding: { dim: 512 }, mlp: { kind: 'plain' } } as Architecture
  assert.equal(stageCosts(opt).embedding, 512 * 4096 / (4 * 4096 ** 2 + 2 * 4096 * 11008))
})
