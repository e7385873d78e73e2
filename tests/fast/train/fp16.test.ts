import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { ops, scope } from 'fettle-native'
import { packBatch } from 'fettle/dist/models/batch'
import type { Decoder } from 'fettle/dist/models/decoder'
import { defaultLora, defaultPrefix } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { evaluateRows } from 'fettle/dist/train/evaluate'
import { generate } from 'fettle/dist/train/generate'
import { LossScale } from 'fettle/dist/train/loss-scale'
import type { Trainer } from 'fettle/dist/train/trainer'
import { goldenCase, need } from '../../support/golden'
import { temporaryFolder } from '../../support/tiny'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan, type PlanChanges } from '../../support/trainer'

const optimizer: Plan['optimizer'] = { learningRate: 1e-3, weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 }
const changes: PlanChanges = { optimizer, batch: { size: 3, evalSize: 4, accumulate: 2, tokens: null }, steps: 8 }
const fp16 = (level: 'O1' | 'O2', lossScale = 32768): PlanChanges => ({ precision: 'fp16', fp16: { level, lossScale } })
const weights = (trainer: ReturnType<typeof tinyTrainer>): number[] => scope(() => trainer.parameters.flat!.master.toArray())

const methods: readonly (readonly [string, PlanChanges])[] = [
  ['all weights', {}], ['LoRA', { method: 'lora', lora: { ...defaultLora, rank: 4, alpha: 8, dropout: 0 } }],
  ['a prefix', { method: 'prefix', prefix: { ...defaultPrefix, tokens: 5 } }], ['a projected prefix', { method: 'prefix', prefix: { ...defaultPrefix, tokens: 5, projection: true, projectionSize: 24 } }],
]

for (const [name, method] of methods) {
  for (const golden of ['llama-v2-gqa', 'bloom', 'opt-125m-style', 'chatglm2-6b']) {
    test(`fp16 follows fp32: ${name}, ${golden}`, () => {
      const rows = memoryRows(randomRows(12))
      const [full, o1, o2] = [{}, fp16('O1'), fp16('O2')].map((precision) => {
        const trainer = tinyTrainer(trainerPlan({ ...changes, ...method, ...precision }), rows, { golden })
        const losses = Array.from({ length: 8 }, () => {
          const { loss, gradNorm, outcome } = trainer.next()
          return { loss, gradNorm, outcome }
        })
        losses.push({ ...losses[7], loss: evaluateRows(trainer.parts.decoder, rows, { rows: 4 }).loss })
        freeTrainer(trainer)
        return losses.filter(({ outcome }) => outcome === 'updated')
      })
      for (const half of [o1, o2]) {
        assert.ok(half.length >= 7, `${half.length} steps changed weights`)
        half.slice(0, 1).forEach(({ gradNorm }, i) => assert.ok(Math.abs(gradNorm / full[i].gradNorm - 1) < 0.02, `gradient norm ${gradNorm}, fp32 ${full[i].gradNorm}`))
        half.forEach(({ loss }, i) => assert.ok(Math.abs(loss / full[i].loss - 1) < 0.01, `step ${i + 1}: loss ${loss}, fp32 ${full[i].loss}`))
      }
    })
  }
}

/** How far below the likeliest of each place, as fp32 sees it over the whole row, the chosen tokens are; as a share of what lies between likeliest and mean. */
function shortfall(decoder: Decoder, prompt: readonly number[], chosen: readonly number[]): number {
  const { architecture: { prompt: rule, vocabSize } } = decoder.parameters
  return scope(() => {
    const batch = packBatch([{ inputIds: [...prompt, ...chosen] }], 'cpu', rule), context = decoder.context(batch, { mode: 'infer' })
    const logits = decoder.headLogits(decoder.hidden(batch, context), context).toFloat32Array()
    return Math.max(...chosen.map((id, t) => {
      const row = logits.subarray((prompt.length + t - 1) * vocabSize, (prompt.length + t) * vocabSize), best = Math.max(...row)
      return (best - row[id]) / (best - row.reduce((sum, x) => sum + x, 0) / vocabSize)
    }))
  })
}

for (const [name, method] of methods) {
  test(`generation in fp16 takes the tokens that fp32 finds likeliest: ${name}`, () => {
    for (const golden of ['llama-v2-gqa', 'bloom', 'opt-350m-style', 'qwen-7b', 'qwen3', 'chatglm-6b', 'chatglm2-6b', 'gemma']) {
      const ids = need(goldenCase(golden).io, 'generate.prompt_ids').toArray(), prompts = [ids, ids.slice(3)]
      const made = (precision: PlanChanges): Trainer => {
        const trainer = tinyTrainer(trainerPlan({ ...changes, ...method, ...precision }), memoryRows(randomRows(12)), { golden })
        // An adapter's first values change nothing, or little.
        scope(() => { if (trainer.parts.plan.method === 'lora') ops.add_(trainer.parameters.flat!.master, ops.full_like(trainer.parameters.flat!.master, 0.02)) })
        trainer.parameters.sync()
        return trainer
      }
      const full = made({})
      for (const level of ['O1', 'O2'] as const) {
        const half = made(fp16(level)), answers = generate(half.parts.decoder, prompts, { maxNewTokens: 20, stopIds: [] })
        answers.forEach((answer, row) => {
          const below = shortfall(full.parts.decoder, prompts[row], answer)
          assert.ok(answer.length === 20 && below < 0.01, `${golden} ${level}: ${below}`)
        })
        freeTrainer(half)
      }
      freeTrainer(full)
    }
  })
}

test('recompute changes nothing in fp16', () => {
  for (const level of ['O1', 'O2'] as const) {
    const [kept, again, half] = ([false, true, 'attention'] as const).map((recompute) => {
      const trainer = tinyTrainer(trainerPlan({ ...changes, ...fp16(level) }), memoryRows(randomRows(12)), { recompute })
      for (let i = 0; i < 3; i++) trainer.next()
      const values = weights(trainer)
      freeTrainer(trainer)
      return values
    })
    assert.deepEqual(again, kept)
    assert.deepEqual(half, kept)
  }
})

test('a gradient beyond a half: the step is left out and the scale halves, until it fits', () => {
  const trainer = tinyTrainer(trainerPlan({ ...changes, steps: 100, ...fp16('O2', 2 ** 40) }), memoryRows(randomRows(12))), before = weights(trainer)
  const first = trainer.next()
  assert.deepEqual([first.outcome, first.lossScale, trainer.lossScale!.value], ['overflow', 2 ** 40, 2 ** 39])
  assert.deepEqual(weights(trainer), before)
  assert.equal(trainer.optimizer.updates, 0)
  let steps = 1
  while (trainer.next().outcome === 'overflow') steps++
  assert.equal(trainer.lossScale!.value, 2 ** (40 - steps))
  assert.equal(trainer.optimizer.updates, 1)
  assert.notDeepEqual(weights(trainer), before)
  freeTrainer(trainer)
})

test('a scale grows after good steps, and where none is found the run ends', () => {
  const scale = new LossScale(8, 3)
  for (let i = 0; i < 3; i++) scale.succeeded()
  assert.deepEqual(scale.state, { scale: 16, good: 0 })
  scale.succeeded()
  for (let i = 0; i < 4; i++) scale.overflowed(i)
  assert.deepEqual(scale.state, { scale: 1, good: 0 })
  assert.throws(() => scale.overflowed(9), (error: { name: string; code: string; message: string }) => {
    assert.deepEqual([error.name, error.code], ['TrainingError', 'train.loss-scale'])
    assert.match(error.message, /step 9.*bf16/)
    return true
  })
})

for (const level of ['O1', 'O2'] as const) {
  for (const [name, method] of methods) {
    test(`a resume has the scale that the run had, and goes on bit for bit: ${name}, ${level}`, (t) => {
      const plan = trainerPlan({ ...changes, ...method, ...fp16(level, 2 ** 30) }), rows = memoryRows(randomRows(12)), folder = temporaryFolder(t)
      const straight = tinyTrainer(plan, rows)
      for (let i = 0; i < 4; i++) straight.next()
      straight.write(folder)
      assert.ok(fs.existsSync(folder))
      const state = straight.lossScale!.state
      const after = Array.from({ length: 4 }, () => straight.next())
      const resumed = tinyTrainer(plan, rows)
      resumed.restore(folder)
      assert.deepEqual(resumed.lossScale!.state, state)
      assert.deepEqual(Array.from({ length: 4 }, () => resumed.next()), after)
      assert.deepEqual(weights(resumed), weights(straight))
      freeTrainer(straight)
      freeTrainer(resumed)
    })
  }
}
