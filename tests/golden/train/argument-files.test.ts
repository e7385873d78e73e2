import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { examples, parseArguments, start } from 'fettle'
import { fixture } from '../../support/paths'
import { temporaryFolder, tinyData } from '../../support/tiny'
import { readMetrics } from '../../support/worker'

type File = Record<string, unknown>
const degree = (file: File, axis: 'tensor' | 'pipeline' | 'sharding'): number => Math.max(1, (file[`${axis}_parallel_degree`] as number | undefined) ?? 1)

for (const family of ['llama', 'chatglm2', 'opt', 'bloom', 'chatglm', 'qwen'])
  for (const name of fs.readdirSync(fixture('arguments', family)))
    test(`${family}/${name} trains a tiny model, unchanged but for paths`, async (t) => {
      const folder = temporaryFolder(t), file = JSON.parse(fs.readFileSync(fixture('arguments', family, name), 'utf8')) as File
      const overrides = { model_name_or_path: examples.tinyModel(family, path.join(folder, 'model')), dataset_name_or_path: tinyData(path.join(folder, 'data')), output_dir: path.join(folder, 'out'), threads: 1 }
      const { plan } = parseArguments(file, overrides)
      const run = await start(plan)
      const result = await run.done
      await run.close()
      const rows = (file.per_device_train_batch_size as number) * (file.gradient_accumulation_steps as number) * degree(file, 'sharding')
      assert.equal(result.steps, 3 * Math.ceil(11 / rows))
      const events = readMetrics(plan.output), started = events.find((event) => event.type === 'started'), ranks = degree(file, 'tensor') * degree(file, 'pipeline') * degree(file, 'sharding')
      assert.equal(started?.ranks ?? 1, ranks)
      assert.equal(events.filter(({ type }) => type === 'eval').length, 3)
      assert.ok(events.every((event) => event.type !== 'step' || Number.isFinite(event.loss)))
      // save_total_limit 1, beside perhaps the best one.
      assert.ok([1, 2].includes(fs.readdirSync(plan.output).filter((each) => each.startsWith('checkpoint-')).length))
      const weights = plan.method === 'sft' ? 'model.safetensors' : 'adapter_model.safetensors'
      assert.ok(fs.existsSync(path.join(plan.output, weights)), weights)
    })
