import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ops, scope } from 'fettle-native'
import { packBatch } from 'fettle/dist/models/batch'
import type { Decoder } from 'fettle/dist/models/decoder'
import { evaluateRows } from 'fettle/dist/train/evaluate'
import { generate } from 'fettle/dist/train/generate'
import type { Trainer } from 'fettle/dist/train/trainer'
import { changes, fp16, methods } from '../../support/fp16'
import { goldenCase, need } from '../../support/golden'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan, type PlanChanges } from '../../support/trainer'

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
