import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { parseArguments, sft, toArguments, type EvalEvent, type RunEvent, type StepEvent } from 'fettle'
import { record, scalarMessage } from 'fettle/dist/worker/logs/tensorboard'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

interface Case { readonly name: string; readonly step: number; readonly value: string; readonly record: string }

test("records are those of TensorBoard's own writer, byte by byte", () => {
  for (const { name, step, value, record: expected } of JSON.parse(fs.readFileSync(fixture('logs', 'tensorboard.json'), 'utf8')) as Case[]) {
    assert.equal(record(scalarMessage({ name, step, value: value === 'inf' ? Infinity : Number(value) }, 1700000000125)).toString('hex'), expected, name)
  }
})

test('a run leaves event files and a file store with every step and evaluation; a resume goes on in both', async (t) => {
  const folder = temporaryFolder(t), output = path.join(folder, 'out')
  const plan = sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data')), { maxLength: 48, template: 'none' }).batch(4).steps(3).evaluate({ every: 2 }).save({ every: 3 }).report('tensorboard', 'mlflow').output(output)
  const run = await plan.start()
  await run.done
  await run.close()
  const steps = run.events.filter((event: RunEvent): event is StepEvent => event.type === 'step'), evals = run.events.filter((event: RunEvent): event is EvalEvent => event.type === 'eval')
  const [store] = fs.readdirSync(path.join(output, 'mlruns', '0')).filter((name) => name !== 'meta.yaml').map((name) => path.join(output, 'mlruns', '0', name))
  const lines = (metric: string): string[][] => fs.readFileSync(path.join(store, 'metrics', ...metric.split('/')), 'utf8').trim().split('\n').map((line) => line.split(' ').slice(1))
  assert.deepEqual(lines('train/loss'), steps.map(({ loss, step }) => [String(loss), String(step)]))
  assert.deepEqual(lines('eval/ppl'), evals.map(({ perplexity, atStep }) => [String(perplexity), String(atStep)]))
  assert.match(fs.readFileSync(path.join(store, 'meta.yaml'), 'utf8'), /^status: 3$/m)
  assert.equal(fs.readFileSync(path.join(store, 'params', 'optimizer.learningRate'), 'utf8'), String(run.plan.optimizer.learningRate))
  const files = (): string[] => fs.readdirSync(path.join(output, 'tensorboard'))
  assert.equal(files().length, 1)
  const content = fs.readFileSync(path.join(output, 'tensorboard', files()[0]), 'latin1')
  assert.equal(content.split('train/loss').length - 1, 3)
  assert.equal(content.split('eval/accuracy').length - 1, evals.length)
  const more = await plan.steps(5).resume().start()
  await more.done
  await more.close()
  assert.ok(files().length === 2 || fs.readFileSync(path.join(output, 'tensorboard', files()[0]), 'latin1').split('train/loss').length - 1 === 5)
})

test('report_to takes one name or several, and goes to a file and back', () => {
  const of = (report_to: unknown) => parseArguments({ model_name_or_path: 'm', dataset_name_or_path: 'd', output_dir: 'o', do_train: true, report_to }).plan
  assert.deepEqual([of('tensorboard').report, of(['mlflow', 'tensorboard']).report, of('all').report, of(['visualdl']).report, of('none').report], [['tensorboard'], ['tensorboard', 'mlflow'], ['tensorboard', 'mlflow'], [], []])
  for (const name of ['all', 'none', 'mlflow']) assert.deepEqual(parseArguments(toArguments(of(name))).plan.report, of(name).report)
  refusal(() => of('wandb'), 'plan.value', 'wandb', 'sync-tensorboard')
  refusal(() => sft('m').report('tensorbord' as never), 'plan.value', 'tensorboard')
})
