import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ops, scope } from 'fettle-native'
import { evaluateRows } from 'fettle/dist/train/evaluate'
import { goldenCase, need } from '../../support/golden'
import { freeTrainer, memoryRows, tinyTrainer, trainerPlan } from '../../support/trainer'

test('evaluation gives the loss of transformers and the accuracy of its logits, a row at a time too', () => scope(() => {
  const { io } = goldenCase('llama-v2-gqa')
  const [rows, length] = need(io, 'batch.input_ids').shape, vocab = need(io, 'batch.logits').shape[2]
  const table = (name: string): number[][] => {
    const flat = need(io, name).toArray()
    return Array.from({ length: rows }, (_, r) => flat.slice(r * length, (r + 1) * length))
  }
  const ids = table('batch.input_ids'), labels = table('batch.labels'), mask = table('batch.attention_mask')
  const real = (values: number[], r: number): Int32Array => Int32Array.from(values.filter((_, t) => mask[r][t] === 1))
  const best = ops.argmax(ops.view(need(io, 'batch.logits'), [rows * length, vocab]), 1).toArray()
  let supervised = 0, correct = 0
  labels.forEach((row, r) => row.forEach((label, t) => {
    if (t === 0 || label === -100) return
    supervised++
    if (best[r * length + t - 1] === label) correct++
  }))
  const reader = memoryRows(ids.map((row, r) => ({ inputIds: real(row, r), labels: real(labels[r], r) })))
  const trainer = tinyTrainer(trainerPlan({}), reader)
  for (const limit of [{ rows }, { rows: 1 }]) {
    const result = evaluateRows(trainer.parts.decoder, reader, limit)
    assert.ok(Math.abs(result.loss - need(io, 'batch.loss').item()) < 1e-5, `loss ${result.loss}, reference ${need(io, 'batch.loss').item()}`)
    assert.deepEqual([result.supervised, result.accuracy], [supervised, correct / supervised])
  }
  freeTrainer(trainer)
}))
