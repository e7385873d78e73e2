import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { readSafetensors } from 'fettle/dist/models/weights'
import { defaultLora } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { temporaryFolder } from '../../support/tiny'
import { readMetrics, startWorker, stopAndResume, workerPlan } from '../../support/worker'

const lora: Plan['lora'] = { ...defaultLora, rank: 4, alpha: 8, dropout: 0.1 }
const bytes = (file: string, name: string): Buffer => Buffer.from(readSafetensors(file).get(name)!.toBytes())

for (const [what, method, adapter] of [['sft', 'sft', null], ['lora', 'lora', lora], ['pissa', 'lora', { ...lora, pissa: true }]] as const) {
  test(`${what}: stopped, saved and resumed, the final weights have the same bits as without`, async (t) => {
    const folder = temporaryFolder(t), name = method === 'sft' ? 'model.safetensors' : 'adapter_model.safetensors'
    const common = { method, lora: adapter, epochs: 25, evaluate: { by: 'epoch' as const } }
    const whole = workerPlan(folder, { ...common, output: path.join(folder, 'whole') })
    const first = startWorker(t, whole)
    await first.event('done')
    await first.close()

    const plan = workerPlan(folder, { ...common, output: path.join(folder, 'parts') })
    const { at, checkpoint } = await stopAndResume(t, plan, 3)
    assert.equal(checkpoint, path.join(plan.output, `checkpoint-${at}`))
    const names = [...readSafetensors(path.join(whole.output, name)).keys()]
    for (const weight of names) assert.ok(bytes(path.join(plan.output, name), weight).equals(bytes(path.join(whole.output, name), weight)), weight)
    const steps = readMetrics(plan.output).flatMap((event) => event.type === 'step' ? [event.loss] : [])
    assert.deepEqual(steps, readMetrics(whole.output).flatMap((event) => event.type === 'step' ? [event.loss] : []))
  })
}
