import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ops, scope } from 'fettle-native'
import type { Row } from 'fettle/dist/data/dataset'
import { Packs } from 'fettle/dist/data/packing'
import { packBatch } from 'fettle/dist/models/batch'
import { Trainer } from 'fettle/dist/train/trainer'
import { walk } from 'fettle/dist/train/walk'
import { Windows } from 'fettle/dist/train/windows'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan } from '../../support/trainer'

const lengths = [5, 9, 3, 12, 4, 4, 20, 1, 6, 7]
const packs = Packs.greedy(lengths.length, (row) => lengths[row], 16) // [0, 1] [2, 3] [4, 5] [6] [7, 8, 9]

test('steps and epochs count packs, and each row comes once an epoch', () => {
  const windows = new Windows(packs.count, { size: 2, evalSize: 1, accumulate: 1, tokens: null }, { epochs: 2, steps: null }, (epoch) => (epoch === 0 ? [4, 1, 0, 3, 2] : [0, 1, 2, 3, 4]), packs)
  assert.equal(packs.count, 5)
  assert.deepEqual([windows.stepsPerEpoch, windows.totalSteps], [3, 6])
  assert.deepEqual([0, 1, 2].map((step) => windows.at(step)), [[[7, 8, 9, 2, 3]], [[0, 1, 6]], [[4, 5]]])
  assert.deepEqual([3, 4, 5].flatMap((step) => windows.at(step).flat()), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.deepEqual(windows.largest(0, (row) => lengths[row]), { step: 1, rows: [0, 1, 6], tokens: 34 })
})

for (const golden of ['llama-v2-gqa', 'chatglm-6b']) {
  test(`loss and gradient of a pack are those of its rows one by one: ${golden}`, () => {
    const rows = randomRows(6).map((row) => (golden === 'chatglm-6b' ? prompted(row.inputIds) : row))
    const trainer = tinyTrainer(trainerPlan({}), memoryRows(rows), { golden }), { decoder } = trainer.parts, { flat, architecture } = trainer.parameters
    const run = (batches: readonly Row[][]): { loss: number; grad: ReturnType<typeof ops.clone> } => {
      flat!.zeroGrad()
      const loss = batches.reduce((sum, batch) => sum + walk(decoder, packBatch(batch, 'cpu', architecture.prompt), { scale: 0.01, training: true }).lossSum.item(), 0)
      return { loss, grad: ops.clone(flat!.grad) }
    }
    scope(() => {
      const packed = run([rows]), alone = run(rows.map((row) => [row]))
      assert.ok(Math.abs(packed.loss / alone.loss - 1) < 1e-5, `${packed.loss} against ${alone.loss}`)
      const far = ops.linalg_vector_norm(ops.sub(packed.grad, alone.grad)).item() / ops.linalg_vector_norm(alone.grad).item()
      assert.ok(far < 1e-4, `gradients differ by ${far}`)
    })
    freeTrainer(trainer)
  })
}

/** The row with a prompt's end after its first three tokens. */
function prompted(ids: Int32Array): Row {
  const { gmask, sop } = promptIds()
  const inputIds = Int32Array.from([...ids.slice(0, 3), gmask, sop, ...ids.slice(3)])
  return { inputIds, labels: inputIds.map((id, t) => (t < 5 ? -100 : id)) }
}

/** The ids that the golden ChatGLM's rule looks for. */
function promptIds(): { gmask: number; sop: number } {
  const trainer = tinyTrainer(trainerPlan({}), memoryRows(randomRows(2)), { golden: 'chatglm-6b' })
  const rule = trainer.parameters.architecture.prompt!
  freeTrainer(trainer)
  return { gmask: rule.marks[0], sop: rule.start }
}

test('a run of packs goes on as if it had never stopped', () => {
  const rows = memoryRows(randomRows(12)), some = Packs.greedy(12, (row) => rows.length(row), 30)
  const windows = (): Windows => new Windows(some.count, { size: 1, evalSize: 1, accumulate: 2, tokens: null }, { epochs: 3, steps: null }, (epoch) => Array.from({ length: some.count }, (_, i) => (epoch % 2 ? some.count - 1 - i : i)), some)
  const trainer = tinyTrainer(trainerPlan({}), rows), packed = new Trainer({ ...trainer.parts, windows: windows() })
  const seen = Array.from({ length: packed.parts.windows.totalSteps }, () => packed.next().rows)
  assert.deepEqual(seen, Array.from({ length: seen.length }, (_, step) => windows().at(step).flat()))
  for (const epoch of [0, 1, 2]) {
    const per = windows().stepsPerEpoch
    assert.deepEqual(seen.slice(epoch * per, (epoch + 1) * per).flat().sort((a, b) => a - b), Array.from({ length: 12 }, (_, i) => i))
  }
  packed.free()
  freeTrainer(trainer)
})
