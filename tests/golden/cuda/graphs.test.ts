import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { ops, scope, setThreads, type Tensor } from 'fettle-native'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { packBatch } from 'fettle/dist/models/batch'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import type { Blocks } from 'fettle/dist/models/blocks/types'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { bucketOf, refusal, WalkGraphs, type Recorder } from 'fettle/dist/train/graphs'
import { walk, type WalkResult } from 'fettle/dist/train/walk'
import { fixture } from '../../support/paths'
import { simulateKernels } from '../../support/simulate'
import { randomRows } from '../../support/trainer'
import { difference } from '../../fast/kernels/support'
import { simulatedBlocks } from '../../fast/cuda/support'

before(() => { simulateKernels(); setThreads(1) })

function open(blocks: Blocks = simulatedBlocks(), { model = 'llama-v2-gqa', dora = false } = {}): Decoder {
  const parameters = loadParameters(openWeights(fixture('golden', model)), { dtype: 'float32', device: 'cpu', train: false })
  attachLora(parameters, loraConfig({ rank: 4, alpha: 8, decomposed: dora }), { seed: 3 })
  for (const { master } of parameters.flat!.weights) ops.add_(master!, 0.02)
  const decoder = new Decoder(parameters, blocks)
  decoder.weightsChanged()
  return decoder
}

/** As a GPU records: what runs meanwhile leaves no trace, and a replay runs it again on what lies in the same memory. */
function memoryRecorder({ parameters }: Decoder): Recorder & { records: number; replays: number } {
  const recorder = {
    records: 0, replays: 0,
    record(body: () => WalkResult) {
      const { grad } = parameters.flat!, kept = ops.clone(grad)
      recorder.records++
      const result = body()
      ops.copy_(grad, kept)
      ops.fill_(result.lossSum, 0)
      return {
        result, free: () => undefined,
        replay: () => {
          recorder.replays++
          scope(() => {
            const { lossSum, correct } = body()
            ops.copy_(result.lossSum, lossSum)
            ops.copy_(result.correct, correct)
          })
        },
      }
    },
  }
  return recorder
}

/** Gradient and sums of a window, micro-batch by micro-batch. */
function window(decoder: Decoder, seeds: readonly number[], take: (batch: ReturnType<typeof packBatch>) => WalkResult): { grad: Tensor; sums: number[] } {
  decoder.parameters.zeroGrad()
  const sums = seeds.flatMap((seed) => {
    const { vocabSize } = decoder.parameters.architecture, known = (id: number): number => (id < 0 ? id : 3 + (id % (vocabSize - 3)))
    const { lossSum, correct } = take(packBatch(randomRows(3, seed).map(({ inputIds, labels }) => ({ inputIds: Array.from(inputIds, known), labels: Array.from(labels, known) }))))
    return [lossSum.item(), correct.item()]
  })
  return { grad: ops.clone(decoder.parameters.flat!.grad), sums }
}

for (const model of ['llama-v2-gqa', 'opt-350m-style', 'mistral-window', 'gemma']) test(`padded and replayed micro-batches give the gradients and sums that they give as they are: ${model}`, () => scope(() => {
  const decoder = open(simulatedBlocks(), { model }), recorder = memoryRecorder(decoder), graphs = new WalkGraphs(decoder, recorder), options = { scale: 1 }, seeds = [1, 2, 3, 4, 5, 6]
  const taken: (WalkResult | null)[] = []
  const through = window(decoder, seeds, (batch) => {
    taken.push(graphs.walk(batch, options))
    return taken[taken.length - 1] ?? walk(decoder, batch, options)
  })
  const alone = window(decoder, seeds, (batch) => walk(decoder, batch, options))
  assert.ok(difference(through.grad, alone.grad) < 1e-5, `gradient differs by ${difference(through.grad, alone.grad)}`)
  through.sums.forEach((sum, i) => assert.ok(Math.abs(sum - alone.sums[i]) <= 1e-5 * alone.sums[i], `sum ${i}: ${sum}, alone ${alone.sums[i]}`))
  // All six lie in one bucket: the first runs as it is, the second padded, the others from one graph.
  assert.deepEqual([taken[0], recorder.records, recorder.replays, graphs.count], [null, 1, 4, 1])
  graphs.free()
  decoder.free()
  decoder.parameters.free()
}))

test('weights that changed since the recording are those that a replay uses', () => scope(() => {
  const decoder = open(), recorder = memoryRecorder(decoder), graphs = new WalkGraphs(decoder, recorder), options = { scale: 1 }, batch = packBatch(randomRows(3, 1))
  for (let i = 0; i < 3; i++) graphs.walk(batch, options)
  ops.mul_(decoder.parameters.flat!.master, 0.5)
  decoder.weightsChanged()
  const replayed = graphs.walk(batch, options)!.lossSum.item()
  assert.ok(Math.abs(replayed / walk(decoder, batch, options).lossSum.item() - 1) < 1e-6)
  assert.equal(recorder.replays, 2)
  graphs.free()
}))

test('a bucket has room for one more token and sequence, and grows a batch by a quarter at most', () => {
  for (const count of [1, 3, 10, 60]) {
    const batch = packBatch(randomRows(count, count)), { tokens, sequences, longest, targets } = bucketOf(batch)
    assert.ok(tokens > batch.tokens && tokens <= Math.max(64, batch.tokens * 1.25 + 1), `${batch.tokens} tokens in ${tokens}`)
    assert.ok(sequences * longest >= tokens && sequences >= batch.lengths.length + Math.ceil((tokens - batch.tokens) / longest))
    assert.ok(longest >= Math.max(...batch.lengths) && targets >= batch.targets!.count)
  }
})

test('what a graph cannot hold is told apart', () => {
  const batch = packBatch(randomRows(2, 1)), said = (decoder: Decoder, options: object = {}, given = batch): string | null => refusal(decoder, given, { scale: 1, ...options })
  const decoder = open()
  assert.equal(said(decoder), null)
  assert.equal(said(decoder, { recompute: true }), null)
  assert.equal(said(decoder, { dropout: true }), null)
  assert.match(said(decoder, { recompute: true, dropout: true })!, /dropout/)
  assert.match(said(decoder, {}, { ...batch, noise: { alpha: 5, seed: 1 } })!, /noise/)
  assert.match(said(open(plainBlocks()))!, /plain form/)
  assert.match(said(open(simulatedBlocks(), { model: 'bloom' }))!, /ALiBi/)
  assert.match(said(open(simulatedBlocks(), { model: 'llama-rope-dynamic' }))!, /length/)
  assert.match(said(open(simulatedBlocks(), { dora: true }))!, /DoRA/)
})
