import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { sft, TrainingError } from 'fettle'
import { inFlags } from 'fettle/dist/run/death'
import { smallerPlan } from 'fettle/dist/plan/smaller'
import { defaultLora } from 'fettle/dist/plan/defaults'
import { freeMainMemory } from 'fettle/dist/models/free-memory'
import { refuseState } from 'fettle/dist/worker/state-memory'
import { hollowModel, shapedData, shapedModel, shapes } from '../../support/forecast'
import { temporaryFolder } from '../../support/tiny'

test('a smaller way keeps the rows of a step', () => {
  const base = sft('m')
  assert.equal(smallerPlan(base.device('cuda').batch(9).accumulate(2).plan).calls, '.batch(3).accumulate(6).recompute()')
  assert.equal(smallerPlan(base.batch(9).accumulate(2).plan).calls, '.tokenBudget(512).recompute()')
  assert.equal(smallerPlan(base.tokenBudget(2048).recompute().plan).flags, '--per_device_train_batch_tokens 1024')
  assert.equal(smallerPlan(base.tokenBudget(256).recompute().plan).calls, '.lora().bf16()')
})

/** About so many values, most of them in layers. */
const wide = (values: number): Record<string, unknown> => ({ ...shapes.llama, hidden_size: 1024, intermediate_size: 2816, num_hidden_layers: Math.ceil((values - 2 * 8000 * 1024) / 11.5e6) })

test('what a machine cannot hold is refused before a weight is read, with a way that fits', (t) => {
  const model = hollowModel(path.join(temporaryFolder(t), 'model'), wide(1e9)), { plan } = sft(model)
  const remedy = (free: number, of = plan, ranks = 1): string | null => {
    try { refuseState(of, model, free, ranks) } catch (error) {
      assert.ok(error instanceof TrainingError && error.code === 'train.memory' && /^weights, gradients and optimizer.* take .*, and .* are free; nothing was loaded; try /.test(error.message), String(error))
      return String(error.details.remedy)
    }
    return null
  }
  // 16 bytes a value: weight, gradient, two moments in fp32.
  assert.deepEqual([17e9, 15e9, 4e9, 2e9, 0.2e9].map((free) => remedy(free)), [null, '.lora()', '.lora().bf16()', '.lora().bf16().quantize()', remedy(0.2e9)])
  assert.match(remedy(0.2e9)!, /^a smaller model: with \.lora\(\)\.bf16\(\)\.quantize\(\) this one holds 0\.\d+ GiB/)
  const lora = { ...plan, method: 'lora' as const, lora: defaultLora }
  assert.deepEqual([5e9, 3.5e9].map((free) => remedy(free, lora)), [null, '.bf16()'])
  // Replicas share the machine; stages of a pipeline each hold a part.
  assert.equal(remedy(17e9, sft(model).dp(2).plan, 2), '.lora()')
  assert.equal(remedy(18e9, sft(model).pp(2).plan, 2), null)
})

test('a run of a model that is too large ends at once with its typed error, and this process goes on', async (t) => {
  const folder = temporaryFolder(t), model = hollowModel(path.join(folder, 'model'), wide(freeMainMemory() / 8)), data = shapedData(path.join(folder, 'data'), 8, 20, 40)
  const builder = sft(model).data(data).batch(2).steps(1).device('cpu').threads(1).output(path.join(folder, 'out'))
  const run = await builder.start(), error = await run.done.then(() => null, (reason: unknown) => reason)
  assert.ok(error instanceof TrainingError && error.code === 'train.memory' && error.details.remedy === '.lora()', String(error))
  assert.match((inFlags(error) as Error).message, /try --lora true/)
  await run.close()
  const small = shapedModel(path.join(folder, 'small'), shapes.llama), again = await sft(small).data(data).batch(2).steps(1).device('cpu').threads(1).output(path.join(folder, 'out')).overwrite().start()
  assert.equal((await again.done).steps, 1)
  await again.close()
})
