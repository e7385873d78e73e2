import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { sft, type EvalEvent, type RunEvent } from 'fettle'
import { score } from 'fettle/dist/metrics'
import { readPairs } from 'fettle/dist/metrics'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import { validatePlan } from 'fettle/dist/plan/validate'
import { BestKeeper } from 'fettle/dist/train/best'
import { pruneCheckpoints } from 'fettle/dist/train/checkpoints'
import { refusal } from '../../support/refusal'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

const plan = { metric: null, greaterIsBetter: null, load: true, patience: null, minDelta: 0 }
const figures = (loss: number, accuracy = 0.5) => ({ loss, perplexity: Math.exp(loss), accuracy })

describe('the best evaluation', () => {
  test('a loss is better when it is lower, an accuracy when it is higher, or as the plan says', () => {
    for (const [metric, greaterIsBetter, higher] of [[null, null, false], ['eval_loss', null, false], ['ppl', null, false], ['accuracy', null, true], ['eval_accuracy', null, true], ['loss', true, true], ['rouge1', null, true]] as const) {
      assert.equal(new BestKeeper({ ...plan, metric, greaterIsBetter }).higher, higher, String(metric))
    }
    const best = new BestKeeper({ ...plan, metric: 'accuracy' })
    for (const [step, accuracy] of [[1, 0.2], [2, 0.6], [3, 0.4]] as const) best.judge(step, figures(1, accuracy))
    assert.deepEqual(best.state.best, { step: 2, value: 0.6 })
  })

  test('small gains and figures that are no numbers count for nothing; patience counts them', () => {
    const best = new BestKeeper({ ...plan, patience: 2, minDelta: 0.1 })
    best.judge(1, figures(2))
    best.judge(2, figures(1.95))
    assert.equal(best.exhausted, false)
    best.judge(3, figures(NaN))
    assert.deepEqual([best.state.best, best.state.misses, best.exhausted], [{ step: 1, value: 2 }, 2, true])
  })

  test('only a step with a checkpoint can be gone back to', () => {
    const best = new BestKeeper(plan)
    best.judge(1, figures(2))
    best.checkpoint(1)
    best.judge(2, figures(1))
    best.judge(3, figures(3))
    assert.deepEqual(best.betterThan(3), { step: 1, value: 2 })
    best.judge(4, figures(1.5))
    assert.equal(best.betterThan(4), null)
  })

  test('a limit on checkpoints takes neither the newest nor the best', (t) => {
    const output = temporaryFolder(t)
    for (let step = 1; step <= 5; step++) {
      const folder = path.join(output, `checkpoint-${step}`)
      fs.mkdirSync(folder)
      fs.writeFileSync(path.join(folder, 'manifest.json'), JSON.stringify({ version: 1, step, time: step, files: {} }))
    }
    const left = (): string[] => fs.readdirSync(output).sort()
    pruneCheckpoints(output, 3, 2)
    assert.deepEqual(left(), ['checkpoint-2', 'checkpoint-4', 'checkpoint-5'])
    pruneCheckpoints(output, 1, 2)
    assert.deepEqual(left(), ['checkpoint-2', 'checkpoint-5'])
    pruneCheckpoints(output, 1, 5)
    assert.deepEqual(left(), ['checkpoint-5'])
  })

  test('unknown figures, and scores without answers, are refused before training', () => {
    const of = (metric: string) => () => validatePlan({ ...defaultPlan('m'), data: { ...defaultPlan('m').data, path: 'd' }, best: { ...plan, load: false, metric } })
    refusal(of('acuracy'), 'plan.unknown', 'acuracy', 'accuracy')
    refusal(of('bleu4'), 'plan.conflict', 'bleu4', 'generat')
  })
})

const base = (t: { after(fn: () => void): void }, folder: string) => sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data')), { maxLength: 48, template: 'none' }).batch(4)

test('a run ends with the best checkpoint, which survives the limit, and tells so; a resume knows it still', async (t) => {
  const folder = temporaryFolder(t), output = path.join(folder, 'out')
  // A rate that wrecks the model after its first steps, so that the first evaluation is the best.
  const wrecked = base(t, folder).learningRate(0.5).schedule('constant').evaluate({ every: 1 }).save({ every: 1, keep: 1 }).best().output(output)
  const run = await wrecked.steps(4).start()
  const result = await run.done
  await run.close()
  const evals = run.events.filter((event: RunEvent): event is EvalEvent => event.type === 'eval')
  const best = evals.reduce((a, b) => (b.loss < a.loss ? b : a))
  assert.ok(best.atStep < 4, JSON.stringify(evals.map(({ loss }) => loss)))
  assert.deepEqual(result.best, { step: best.atStep, value: best.loss, metric: 'loss', loaded: true })
  assert.deepEqual(fs.readdirSync(output).filter((name) => name.startsWith('checkpoint-')).sort(), [`checkpoint-${best.atStep}`, 'checkpoint-4'].sort())
  assert.ok(fs.readFileSync(path.join(output, 'model.safetensors')).equals(fs.readFileSync(path.join(output, `checkpoint-${best.atStep}`, 'model.safetensors'))))
  const more = await wrecked.steps(6).resume().start()
  const again = await more.done
  await more.close()
  assert.deepEqual(again.best, result.best)
})

test('a run that brings nothing better for so many evaluations ends early, with its weights', async (t) => {
  const folder = temporaryFolder(t)
  const run = await base(t, folder).learningRate(0.5).schedule('constant').evaluate({ every: 1 }).save({ each: 'never' }).best({ load: false, patience: 2 }).steps(40).output(path.join(folder, 'out')).start()
  const result = await run.done
  await run.close()
  assert.ok(result.steps < 40 && !result.stopped, String(result.steps))
  assert.ok(run.events.some((event) => event.type === 'warning' && event.code === 'train.early'))
  assert.equal(result.best?.loaded, false)
})

test('the final weights are tried on test.json, where the plan predicts; without the file it is refused at the start', async (t) => {
  const folder = temporaryFolder(t), plan = base(t, folder).learningRate(0.01).steps(2).save({ each: 'never' }).predict().evaluate({ each: 'never', generate: true, saveOutput: true, maxNewTokens: 4 }).output(path.join(folder, 'out'))
  await assert.rejects(plan.start(), { code: 'data.not-found', message: /has no test data/ })
  fs.copyFileSync(path.join(folder, 'data', 'dev.json'), path.join(folder, 'data', 'test.json'))
  const run = await plan.start(), { test: figures, evalLoss } = await run.done
  const dev = await run.evaluate()
  await run.close()
  assert.deepEqual([figures!.loss, figures!.rows, figures!.bleu4, figures!.rougel, evalLoss], [dev.loss, 3, dev.bleu4, dev.rougel, null])
  assert.equal(run.events.filter((event) => event.type === 'predict').length, 1)
})

test('an evaluation by generation writes answers, scores them, and leaves generated_output.json', async (t) => {
  const folder = temporaryFolder(t), output = path.join(folder, 'out')
  const run = await base(t, folder).learningRate(0.01).steps(6).evaluate({ every: 3, generate: true, saveOutput: true, maxNewTokens: 12 }).save({ each: 'never' }).output(output).start()
  await run.done
  const asked = await run.evaluate()
  await run.close()
  const evals = run.events.filter((event: RunEvent): event is EvalEvent => event.type === 'eval')
  assert.deepEqual(evals.map(({ atStep }) => atStep).slice(0, 2), [3, 6])
  const pairs = readPairs(path.join(output, 'generated_output.json'))
  assert.equal(pairs.length, 3)
  assert.deepEqual(pairs.map(({ target }) => target), fs.readFileSync(path.join(folder, 'data', 'dev.json'), 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as { tgt: string }).tgt))
  const { bleu4, rouge1, rouge2, rougel } = asked
  assert.deepEqual({ bleu4, rouge1, rouge2, rougel }, score(pairs))
  assert.ok(rouge1! >= 0 && Number.isFinite(asked.loss))
})
