import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { chat, sft, type Run, type RunEvent, type Sft } from 'fettle'
import { tinyModel } from 'fettle/dist/examples/tiny'
import { parseMesh } from 'fettle/dist/parallel/mesh/parse'
import { dataRanks } from 'fettle/dist/parallel/mesh/shape'
import { closing, reached } from '../../support/runs'
import { largestDifference, readPlain } from '../../support/safetensors'
import { temporaryFolder } from '../../support/tiny'

type Kind<T extends RunEvent['type']> = Extract<RunEvent, { type: T }>
const of = <T extends RunEvent['type']>(run: Run, type: T): Kind<T>[] => run.events.filter((event): event is Kind<T> => event.type === type)

/** Rows of a micro-batch on all ranks together. */
const rows = 4

/** Thirteen rows, so that the last micro-batch has one: fewer than ranks. Without an answer a row is its end alone, which no token predicts. */
function data(folder: string, answers: (row: number) => boolean = () => true): string {
  fs.mkdirSync(folder, { recursive: true })
  const row = (i: number): string => JSON.stringify(answers(i) ? { src: `n ${i}: ${'ab'.repeat(i % 5)}`, tgt: `${'xyz'.slice(0, 1 + (i % 3))}${'!'.repeat(i % 7)}` } : { src: '', tgt: '' })
  const write = (name: string, from: number, count: number): void => fs.writeFileSync(path.join(folder, name), Array.from({ length: count }, (_, i) => `${row(from + i)}\n`).join(''))
  write('train.json', 0, 13)
  write('dev.json', 13, 3)
  return folder
}

/** A run of a tiny model; Adam's epsilon stands above the rounding of gradients (see mesh-training.ts). */
function tiny(folder: string, family = 'llama'): Sft {
  return sft(tinyModel(family, path.join(folder, 'model'), { layers: 4 })).data(data(path.join(folder, 'data')), { maxLength: 40 })
    .accumulate(2).epochs(2).adam({ epsilon: 1e-4 }).learningRate(1e-2).save({ each: 'never' }).threads(1).device('cpu').output(path.join(folder, 'out'))
}

/** The run on a mesh, with as many rows a step as on one rank. */
function on(builder: Sft, mesh: string): Sft {
  const { dp, sharding, pp, virtual, tp } = parseMesh(mesh === '' ? 'dp=1' : mesh), own = rows / dataRanks(parseMesh(mesh === '' ? 'dp=1' : mesh))
  const placed = builder.batch(own, 4).dp(dp).pp(pp, { virtual }).tp(tp)
  return (sharding.degree > 1 ? placed.sharding({ degree: sharding.degree, stage: sharding.stage as 1 | 2 | 3 }) : placed).output(path.join(builder.plan.output, mesh || 'alone'))
}

async function finished(t: TestContext, builder: Sft): Promise<Run> {
  const run = closing(t, await builder.start())
  await run.done
  await run.close()
  return run
}

const near = (seen: readonly number[], reference: readonly number[], tolerance: number, what: string): void => {
  assert.equal(seen.length, reference.length, what)
  seen.forEach((value, i) => assert.ok(Object.is(value, reference[i]) || Math.abs(value - reference[i]) <= tolerance * Math.max(1, Math.abs(reference[i])), `${what} ${i}: ${value}, on one rank ${reference[i]}`))
}

function sameWeights(a: string, b: string, tolerance: number): void {
  const file = ['model.safetensors', 'adapter_model.safetensors'].find((name) => fs.existsSync(path.join(a, name))) as string, own = readPlain(path.join(a, file)), reference = readPlain(path.join(b, file))
  assert.deepEqual([...own.keys()].sort(), [...reference.keys()].sort())
  for (const [name, { shape, values }] of reference) {
    assert.deepEqual(own.get(name)!.shape, shape)
    const off = largestDifference(own.get(name)!.values, values)
    assert.ok(off <= tolerance, `${name} is off by ${off}`)
  }
}

/** All that a run tells and leaves is what one rank does. */
function same(run: Run, alone: Run, tolerance: { readonly loss: number; readonly weight: number }): void {
  near(of(run, 'step').map(({ loss }) => loss), of(alone, 'step').map(({ loss }) => loss), tolerance.loss, 'loss of step')
  near(of(run, 'step').map(({ gradNorm }) => gradNorm), of(alone, 'step').map(({ gradNorm }) => gradNorm), 30 * tolerance.loss, 'gradient norm of step')
  const counts = (of_: Run): unknown => of(of_, 'step').map(({ step, totalSteps, tokens, supervised, learningRate, lossScale }) => ({ step, totalSteps, tokens, supervised, learningRate, lossScale }))
  assert.deepEqual(counts(run), counts(alone))
  near(of(run, 'eval').map(({ loss }) => loss), of(alone, 'eval').map(({ loss }) => loss), tolerance.loss, 'loss of evaluation')
  near(of(run, 'eval').map(({ bleu4 }) => bleu4 ?? 0), of(alone, 'eval').map(({ bleu4 }) => bleu4 ?? 0), tolerance.loss, 'BLEU of evaluation')
  const told = (of_: Run): unknown => [of(of_, 'sample').map(({ samples }) => samples), of(of_, 'warning').filter(({ code }) => code !== 'memory').map(({ code }) => code), of(of_, 'started').map(({ parameters, trainable }) => [parameters, trainable])]
  assert.deepEqual(told(run), told(alone))
  sameWeights(run.dir, alone.dir, tolerance.weight)
}

const exact = { loss: 2e-5, weight: 1e-4 }, halves = { loss: 2e-2, weight: 3e-2 }
interface Feature { readonly name: string; readonly meshes: readonly string[]; readonly family?: string; readonly change: (run: Sft, folder: string) => Sft; readonly tolerance?: typeof exact; readonly see?: (alone: Run) => void }
const features: Feature[] = [
  {
    name: 'an adapter on packs, with recompute, evaluation by loss, samples', meshes: ['tp=2', 'pp=2', 'dp=2', 'sharding=2:stage3'],
    change: (run, folder) => run.lora({ rank: 4 }).data(path.join(folder, 'data'), { maxLength: 40, packing: true }).recompute('full').evaluate({ every: 2 }).sample({ every: 2, maxNewTokens: 6 }),
    see: (alone) => assert.deepEqual([of(alone, 'eval').length > 0, of(alone, 'sample').length > 1, of(alone, 'prepared').some(({ packs }) => (packs?.count ?? 13) < 13)], [true, true, true]),
  },
  {
    name: 'all weights, with recompute of attention, evaluation by answers', meshes: ['pp=2:virtual2', 'sharding=2:stage2', 'tp=2'], family: 'opt',
    change: (run) => run.recompute('full_attn').learningRate(1e-3).evaluate({ each: 'epoch', generate: true, maxNewTokens: 8 }),
    see: (alone) => assert.ok(of(alone, 'eval').every(({ bleu4 }) => bleu4 !== undefined)),
  },
  {
    name: 'rows without an answer, alone in their micro-batch or beside others', meshes: ['dp=2', 'sharding=2:stage3', 'pp=2', 'tp=2'], family: 'qwen',
    change: (run, folder) => run.data(data(path.join(folder, 'data'), (row) => row % 3 === 0), { maxLength: 40 }).learningRate(1e-3).evaluate({ each: 'epoch' }),
    see: (alone) => assert.ok(of(alone, 'warning').some(({ code }) => code === 'data.no-answer-left')),
  },
  { name: 'a prefix', meshes: ['tp=2', 'pp=2', 'sharding=2:stage3'], family: 'chatglm2', change: (run) => run.prefix({ tokens: 4 }).learningRate(0.1).sample({ each: 'epoch', maxNewTokens: 6 }) },
  { name: 'bf16', meshes: ['tp=2', 'sharding=2:stage3'], family: 'bloom', change: (run) => run.bf16().learningRate(1e-3).evaluate({ each: 'epoch' }), tolerance: halves },
  {
    name: 'fp16 at level O2, whose loss scale is too high at first', meshes: ['pp=2', 'dp=2', 'tp=2'], tolerance: halves,
    change: (run) => run.lora({ rank: 4 }).fp16({ level: 'O2', lossScale: 2 ** 22 }).evaluate({ each: 'epoch' }),
    see: (alone) => assert.ok(of(alone, 'warning').some(({ code }) => code === 'train.overflow') && of(alone, 'step').at(-1)!.lossScale! < 2 ** 22),
  },
  { name: 'rows as a stream', meshes: ['dp=2', 'tp=2'], change: (run, folder) => run.lora({ rank: 4 }).data(path.join(folder, 'data'), { maxLength: 40, lazy: true, shuffleBuffer: 5 }).steps(5) },
  {
    name: 'the best checkpoint is taken at the end', meshes: ['tp=2', 'pp=2', 'sharding=2:stage3'], change: (run) => run.learningRate(0.3).steps(4).save({ every: 1, keep: null }).evaluate({ every: 1 }).best({ load: true }),
    // So high a rate makes the first ones the best.
    see: (alone) => assert.ok(of(alone, 'done')[0].best?.loaded),
  },
]

for (const { name, meshes, family, change, tolerance = exact, see } of features) test(`${name}: as on one rank on ${meshes.join('; ')}`, async (t) => {
  const folder = temporaryFolder(t), builder = change(tiny(folder, family), folder)
  const alone = await finished(t, on(builder, ''))
  see?.(alone)
  for (const mesh of meshes) await t.test(mesh, async (each) => {
    const run = await finished(each, on(builder, mesh))
    assert.equal(of(run, 'started')[0].ranks, 2)
    same(run, alone, tolerance)
    assert.deepEqual(of(run, 'done').map(({ best }) => best && [best.step, best.loaded]), of(alone, 'done').map(({ best }) => best && [best.step, best.loaded]))
  })
})

describe('a run that is controlled', () => {
  for (const mesh of ['tp=2', 'pp=2', 'dp=2', 'sharding=2:stage3']) test(`on ${mesh} pauses, answers, takes another rate, saves, stops and goes on where it stood`, async (t) => {
    const folder = temporaryFolder(t), builder = on(tiny(folder).lora({ rank: 4, dropout: 0.1 }).steps(1000), mesh)
    const run = closing(t, await builder.start())
    await reached(run, 'step', 2)
    await run.pause()
    const at = run.metrics.numRows, [first, second] = await run.generate(['n 1', 'n 2: ab'], { maxNewTokens: 5, temperature: 0.8, seed: 3 })
    assert.equal(await run.generate('n 1', { maxNewTokens: 5, temperature: 0.8, seed: 3 }), first)
    assert.equal(typeof second, 'string')
    const talk = await chat(run, { maxNewTokens: 4 }), { base, tuned } = await talk.ask('n 1')
    assert.deepEqual([typeof base, typeof tuned], ['string', 'string'])
    await talk.close()
    assert.ok((await run.evaluate()).loss > 0)
    assert.equal((await run.sample()).samples.length, 3)
    await run.set({ learningRate: 5e-3 })
    const saved = await run.save()
    assert.match(saved, new RegExp(`checkpoint-${at}$`))
    assert.equal(run.metrics.numRows, at)
    await run.resume()
    await reached(run, 'step', at + 3)
    const { steps, stopped } = await run.stop()
    assert.deepEqual([stopped, of(run, 'step').find(({ step }) => step === at + 1)!.learningRate < 5e-3], [true, true])
    assert.ok(fs.existsSync(path.join(run.dir, `checkpoint-${steps}`)))
    await run.close()
    // From the first of both on, the same steps again, dropout included.
    const losses = of(run, 'step').filter(({ step }) => step > at && step <= at + 3).map(({ loss }) => loss)
    const again = closing(t, await builder.resume(saved).start())
    await reached(again, 'step', at + 3)
    await again.stop()
    await again.close()
    assert.deepEqual(of(again, 'step').filter(({ step }) => step > at && step <= at + 3).map(({ loss }) => loss), losses)
  })
})

test('a checkpoint of one mesh goes on on every other', async (t) => {
  const folder = temporaryFolder(t), builder = tiny(folder, 'bloom').learningRate(1e-3).steps(4).save({ every: 2, keep: null })
  const meshes = ['', 'tp=2', 'pp=2:virtual2', 'sharding=2:stage3'], alone = await finished(t, on(builder, ''))
  const later = (run: Run): number[] => of(run, 'step').filter(({ step }) => step > 2).map(({ loss }) => loss)
  // Each goes on where its neighbour stood.
  let before = alone
  for (const mesh of [...meshes.slice(1), '']) await t.test(`${mesh || 'one rank'}, from where the one before stood`, async (each) => {
    const checkpoint = path.join(folder, `checkpoint-2-of-${meshes.indexOf(mesh)}`, 'checkpoint-2')
    fs.cpSync(path.join(before.dir, 'checkpoint-2'), checkpoint, { recursive: true })
    const other = on(builder.output(path.join(folder, 'again')), mesh), whole = mesh === '' ? alone : await finished(each, on(builder, mesh))
    const run = await finished(each, other.resume(checkpoint))
    assert.equal(of(run, 'started')[0].startStep, 2)
    near(later(run), later(alone), exact.loss, 'loss of step')
    sameWeights(run.dir, alone.dir, exact.weight)
    before = whole
  })
})
