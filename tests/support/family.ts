import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { memory, scope, tensor, type Tensor } from 'fettle-native'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { packBatch, type Sequence } from 'fettle/dist/models/batch'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import type { Parameters } from 'fettle/dist/models/parameters'
import { openWeights } from 'fettle/dist/models/weights'
import { generate } from 'fettle/dist/train/generate'
import { trace } from 'fettle/dist/train/trace'
import { walk } from 'fettle/dist/train/walk'
import { defaultLora } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { goldenCase, gradientError, largestDifference, need } from './golden'
import { freeTrainer, memoryRows, tinyTrainer, trainerPlan } from './trainer'
import { greedyByWholePasses } from './whole-passes'

type Blocks = 'plain' | 'auto'
const inputNames = ['input_ids', 'attention_mask', 'position_ids', 'labels']

/** The inputs of a case that start with `prefix`, without it. */
export function inputsOf(io: ReadonlyMap<string, Tensor>, prefix: string): Map<string, Tensor> {
  return new Map(inputNames.filter((name) => io.has(`${prefix}.${name}`)).map((name) => [name, need(io, `${prefix}.${name}`)]))
}

const blocksOf = (blocks: Blocks) => () => (blocks === 'plain' ? plainBlocks() : chooseBlocks({ device: 'cpu', dtype: 'float32', blocks }))

/** All that a case of a family must show: its reference's numbers, and that every way through the decoder gives the same. */
export function familyCase(name: string, reference: string): void {
  describe(`${name} is what ${reference} computes`, () => {
    for (const blocks of ['plain', 'auto'] as const) {
      test(`padded batch: logits, loss, gradients (${blocks} blocks)`, () => scope(() => paddedBatch(name, blocks)))
      test(`one row without padding (${blocks} blocks)`, () => scope(() => {
        const { folder, io } = goldenCase(name), inputs = new Map([['input_ids', need(io, 'single.input_ids')]])
        const result = trace({ model: folder, inputs, blocks: blocksOf(blocks) })
        assert.ok(largestDifference(need(result, 'logits'), need(io, 'single.logits')) <= 1e-4)
      }))
      test(`bf16 is within its rounding (${blocks} blocks)`, () => scope(() => halfPrecision(name, blocks)))
      test(`greedy continuation, alone and beside other prompts (${blocks} blocks)`, () => scope(() => continuation(name, blocks, reference === 'transformers')))
      test(`a packed batch is its rows one by one (${blocks} blocks)`, () => scope(() => packedIsAlone(name, blocks)))
    }
    test('padding on the left gives what it gives on the right', () => scope(() => leftIsRight(name)))
    for (const lora of [null, { ...defaultLora, rank: 4, alpha: 8, dropout: 0.1 }])
      test(`it learns its rows, ${lora === null ? 'all weights' : 'LoRA'}, and leaves no tensor behind`, () => learns(name, lora))
    test('a cache changes nothing', () => scope(() => cacheChangesNothing(name)))
  })
}

function paddedBatch(name: string, blocks: Blocks): void {
  const { folder, io } = goldenCase(name)
  const grads = [...io.keys()].filter((key) => key.startsWith('grad.')).map((key) => key.slice('grad.'.length))
  const result = trace({ model: folder, inputs: inputsOf(io, 'batch'), grads, blocks: blocksOf(blocks) })
  const logits = largestDifference(need(result, 'logits'), need(io, 'batch.logits')), loss = largestDifference(need(result, 'loss'), need(io, 'batch.loss'))
  assert.ok(logits <= 1e-4, `logits are off by ${logits}`)
  assert.ok(loss <= 1e-5, `loss is off by ${loss}`)
  const worst = gradientError(grads.map((grad) => ({ name: grad, seen: need(result, `grad.${grad}`), reference: need(io, `grad.${grad}`) })))
  assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
}

/** Root mean square of the difference, over the reference's. */
function spread(seen: Tensor, reference: Tensor): number {
  const a = seen.toFloat32Array(), b = reference.toFloat32Array(), squares = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0)
  return Math.sqrt(squares(a.map((value, i) => value - b[i])) / squares(b))
}

/** Eight bits of each number, a few dozen roundings deep. */
function halfPrecision(name: string, blocks: Blocks): void {
  const { folder, io } = goldenCase(name)
  const result = trace({ model: folder, inputs: inputsOf(io, 'batch'), grads: 'all', dtype: 'bf16', blocks: blocksOf(blocks) })
  const logits = spread(need(result, 'logits'), need(io, 'batch.logits')), loss = Math.abs(need(result, 'loss').item() / need(io, 'batch.loss').item() - 1)
  assert.ok(logits <= 0.02, `logits are off by ${logits}`)
  assert.ok(loss <= 0.003, `loss is off by ${loss}`)
  // A key bias changes no softmax: its gradient is rounding and nothing else.
  const grads = [...io.keys()].filter((key) => key.startsWith('grad.') && result.has(key) && !key.endsWith('k_proj.bias'))
  const worst = gradientError(grads.map((key) => ({ name: key, seen: need(result, key), reference: need(io, key) })))
  // Where rounding carries a value over ReLU's kink its whole gradient comes or goes.
  const kinked = (JSON.parse(fs.readFileSync(path.join(folder, 'config.json'), 'utf8')) as Record<string, unknown>)['activation_function'] === 'relu'
  assert.ok(worst.error <= (kinked ? 0.15 : 0.06), `${worst.name}: ${worst.error}`)
}

/** A decoder for the length of `use`. */
function withDecoder<T>(name: string, blocks: Blocks, train: boolean, use: (decoder: Decoder, parameters: Parameters) => T): T {
  const parameters = loadParameters(openWeights(goldenCase(name).folder), { dtype: 'float32', device: 'cpu', train })
  const decoder = new Decoder(parameters, blocksOf(blocks)())
  try {
    return use(decoder, parameters)
  } finally {
    decoder.free()
    parameters.free()
  }
}

/** @param keepsOn the reference chose from what ends no answer */
function continuation(name: string, blocks: Blocks, keepsOn: boolean): void {
  const { io } = goldenCase(name)
  const prompt = need(io, 'generate.prompt_ids').toArray(), expected = need(io, 'generate.new_ids').toArray()
  const options = { maxNewTokens: 16, minNewTokens: 16, temperature: 0, ...(keepsOn ? {} : { stopIds: [] }) }
  withDecoder(name, blocks, false, (decoder) => {
    assert.deepEqual(generate(decoder, [prompt], options), [expected])
    // Prompts that end as this one does, so that what a family needs of a prompt is in each.
    assert.deepEqual(generate(decoder, [prompt.slice(3), prompt, prompt.slice(1)], options)[1], expected)
  })
}

/** Rows of different lengths, whose beginnings are cut off: their ends hold what a family needs of a row. */
function rowsOf(name: string): Sequence[] {
  const ids = need(goldenCase(name).io, 'single.input_ids').toArray()
  return [0, 4, 2, 5].map((start) => {
    const inputIds = ids.slice(start, ids.length - (start % 3))
    return { inputIds, labels: inputIds.map((id, t) => (t < inputIds.length - 11 ? -100 : id)) }
  })
}

function packedIsAlone(name: string, blocks: Blocks): void {
  const rows = rowsOf(name)
  const run = (batches: readonly (readonly Sequence[])[], training: boolean, recompute: boolean): { loss: number; grads: { name: string; value: Tensor }[] } => withDecoder(name, blocks, true, (decoder, parameters) => {
    const loss = batches.reduce((sum, batch) => sum + walk(decoder, packBatch(batch, 'cpu', parameters.architecture.prompt), { scale: 0.01, training, recompute }).lossSum.item(), 0)
    return { loss, grads: parameters.named().map((p) => ({ name: p.name, value: tensorCopy(p.grad!) })) }
  })
  for (const training of [true, false]) {
    const alone = run(rows.map((row) => [row]), training, false)
    for (const recompute of [false, true]) {
      const packed = run([rows], training, recompute)
      assert.ok(Math.abs(packed.loss / alone.loss - 1) <= 1e-6, `loss ${packed.loss}, alone ${alone.loss}`)
      const worst = gradientError(alone.grads.map(({ name: key, value }, i) => ({ name: key, seen: packed.grads[i].value, reference: value })))
      assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
    }
  }
}

function tensorCopy(value: Tensor): Tensor { return tensor(value.toFloat32Array(), value.shape) }

/** The padded batch of a case with a mask that says no more than where padding is, and how much each row has of it. */
function rightPadded(name: string): { inputs: Map<string, Tensor>; rows: number; length: number; hidden: number[] } {
  const { io } = goldenCase(name), ids = need(io, 'batch.input_ids'), labels = need(io, 'batch.labels').toArray(), [rows, length] = ids.shape
  const hidden = Array.from({ length: rows }, (_, row) => labels.slice(row * length, (row + 1) * length).reverse().findIndex((label) => label !== -100))
  const mask = hidden.flatMap((count) => Array.from({ length }, (_, t) => (t < length - count ? 1n : 0n)))
  return { inputs: new Map([['input_ids', ids], ['labels', need(io, 'batch.labels')], ['attention_mask', tensor(mask, [rows, length])]]), rows, length, hidden }
}

function leftIsRight(name: string): void {
  const { folder } = goldenCase(name), { inputs: right, rows, length, hidden } = rightPadded(name)
  const left = new Map([...right].map(([key, value]) => {
    const flat = value.toArray(), pad = key === 'labels' ? -100 : 0
    const moved = hidden.map((count, row) => [...Array.from({ length: count }, () => pad), ...flat.slice(row * length, (row + 1) * length - count)])
    return [key, tensor(moved.flat().map(BigInt), [rows, length])] as const
  }))
  const a = trace({ model: folder, inputs: right, grads: 'all' }), b = trace({ model: folder, inputs: left, grads: 'all' })
  assert.ok(largestDifference(need(a, 'loss'), need(b, 'loss')) <= 1e-5)
  const worst = gradientError([...a.keys()].filter((key) => key.startsWith('grad.')).map((key) => ({ name: key, seen: need(b, key), reference: need(a, key) })))
  assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
  const vocab = need(a, 'logits').shape[2], x = need(a, 'logits').toFloat32Array(), y = need(b, 'logits').toFloat32Array()
  hidden.forEach((count, row) => {
    for (let t = 0; t < length - count; t++)
      for (let v = 0; v < vocab; v += 7)
        assert.ok(Math.abs(x[(row * length + t) * vocab + v] - y[(row * length + t + count) * vocab + v]) <= 1e-4, `row ${row}, token ${t}`)
  })
  assert.ok(y.every(Number.isFinite))
}

/** Greedy ids of rows that differ in length, against whole passes that read all tokens anew for each. */
function cacheChangesNothing(name: string): void {
  const prompt = need(goldenCase(name).io, 'generate.prompt_ids').toArray(), prompts = [prompt, prompt.slice(3)]
  withDecoder(name, 'plain', false, (decoder) => {
    const expected = prompts.map((prompt) => greedyByWholePasses(decoder, prompt, 30))
    assert.deepEqual(generate(decoder, prompts, { maxNewTokens: 30, stopIds: [], temperature: 0 }), expected)
  })
}

/** Trains on the same few rows: the loss falls, and what the trainer held is given back. */
function learns(name: string, lora: Plan['lora']): void {
  const rows = rowsOf(name).map(({ inputIds, labels }) => ({ inputIds: Int32Array.from(inputIds), labels: Int32Array.from(labels!) }))
  const optimizer: Plan['optimizer'] = { learningRate: lora === null ? 3e-3 : 1e-2, weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }
  const run = (): number[] => {
    const trainer = tinyTrainer(trainerPlan({ lora, optimizer, batch: { size: 2, evalSize: 2, accumulate: 2, tokens: null }, steps: 12 }), memoryRows(rows), { golden: name, recompute: lora !== null })
    const losses = Array.from({ length: 12 }, () => trainer.next().loss)
    freeTrainer(trainer)
    return losses
  }
  run()
  const before = memory().liveTensors, losses = run()
  assert.equal(memory().liveTensors, before)
  assert.ok(losses[11] < losses[0] - 0.1, `loss went from ${losses[0]} to ${losses[11]}`)
}
