import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { checkpoints, model, sft, type Sft } from 'fettle'
import { partyOf } from 'fettle/dist/chat/target'
import { CheckpointError } from 'fettle/dist/errors'
import { mergeRanks } from 'fettle/dist/export/merge-ranks'
import { reshard } from 'fettle/dist/export/reshard'
import { parseMesh } from 'fettle/dist/parallel/mesh/parse'
import { fixture } from '../../support/paths'
import { closing } from '../../support/runs'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

/* Runs on several ranks of tiny models: what their checkpoints are worth to ranks of other meshes, and to those who read them as a model. */

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-checkpoint-'))
after(() => fs.rmSync(root, { recursive: true, force: true }))
const models = { untied: tinyModel(path.join(root, 'untied')), tied: tinyModel(path.join(root, 'tied'), 'llama-tied-smollm') }
const data = tinyData(path.join(root, 'data'), 16)

const meshes: Record<string, (run: Sft) => Sft> = {
  'one rank': (run) => run.batch(4), 'dp=2': (run) => run.dp(2).batch(2), 'tp=2': (run) => run.tp(2).batch(4), 'pp=2': (run) => run.pp(2).batch(4),
  'sharding=2:stage3': (run) => run.sharding({ stage: 3, degree: 2 }).batch(2), 'tp=2,pp=2': (run) => run.tp(2).pp(2).batch(4),
}
const methods: Record<string, Sft> = { sft: sft(models.untied), 'sft of a tied model': sft(models.tied), lora: sft(models.untied).lora({ rank: 4 }) }

interface Ran { readonly losses: readonly number[]; readonly folder: string }

const ran = new Map<string, Promise<Ran>>()
/** A run of four steps with a checkpoint after the second, or what is left of it. Each is made once. */
function run(t: TestContext, method: string, mesh: string, resume: string | null = null): Promise<Ran> {
  const key = [method, mesh, resume].join(), known = ran.get(key) ?? start(t, method, mesh, resume)
  ran.set(key, known)
  return known
}

async function start(t: TestContext, method: string, mesh: string, resume: string | null): Promise<Ran> {
  const folder = fs.mkdtempSync(path.join(root, 'run-'))
  const plan = meshes[mesh](methods[method].data(data, { maxLength: 64 })).steps(4).learningRate(3e-3).save({ every: 2 }).threads(1).device('cpu').output(folder)
  const handle = closing(t, await plan.resume(resume).start()), losses: number[] = []
  await handle.done
  for await (const event of handle) {
    if (event.type === 'step') losses.push(event.loss)
    if (event.type === 'done') break
  }
  await handle.close()
  return { losses, folder }
}

function near(losses: readonly number[], expected: readonly number[]): void {
  assert.equal(losses.length, expected.length)
  losses.forEach((loss, i) => assert.ok(Math.abs(loss - expected[i]) <= 1e-5 * expected[i], `${losses.join()} against ${expected.join()}`))
}

function sameFiles(a: string, b: string, names: readonly string[]): void {
  for (const name of names) assert.ok(fs.readFileSync(path.join(a, name)).equals(fs.readFileSync(path.join(b, name))), `${name} of ${a} and ${b} differ`)
}

const warn = (code: string, message: string): void => assert.fail(`${code}: ${message}`)

const cases: [method: string, saved: string, resumed: readonly string[]][] = [
  ['sft', 'tp=2', ['one rank', 'pp=2']], ['sft', 'pp=2', ['dp=2', 'tp=2']], ['sft', 'sharding=2:stage3', ['one rank', 'tp=2']], ['sft', 'tp=2,pp=2', ['tp=2', 'dp=2']],
  ['sft of a tied model', 'pp=2', ['one rank']], ['lora', 'tp=2', ['one rank', 'pp=2']], ['lora', 'tp=2,pp=2', ['dp=2']],
]
for (const [method, saved, resumed] of cases) {
  test(`${method} on ${saved}, resumed on ${resumed.join(' and on ')}: losses as of one rank that was not interrupted`, async (t) => {
    const { losses: expected } = await run(t, method, 'one rank'), { losses, folder } = await run(t, method, saved)
    near(losses, expected)
    for (const mesh of resumed) near((await run(t, method, mesh, path.join(folder, 'checkpoint-2'))).losses, expected.slice(2))
    if (method === 'lora') {
      sameFiles(path.join(folder, 'checkpoint-4'), folder, ['adapter_model.safetensors', 'adapter_config.json'])
      return assert.rejects(mergeRanks({ checkpoint: path.join(folder, 'checkpoint-4'), warn }), (error) => error instanceof CheckpointError && error.code === 'checkpoint.adapter' && error.message.includes('fettle merge-lora'))
    }
    const { output, files, ranks } = await mergeRanks({ checkpoint: path.join(folder, 'checkpoint-4'), warn })
    assert.deepEqual([output, ranks], [path.join(folder, 'checkpoint-4', 'merged'), saved === 'tp=2,pp=2' ? 4 : 2])
    assert.deepEqual(files, ['model.safetensors', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'config.json'])
    sameFiles(output, folder, files)
  })
}

for (const [method, from, to] of [['sft', 'tp=2,pp=2', 'sharding=2:stage3'], ['lora', 'pp=2', 'tp=2'], ['sft', 'one rank', 'tp=2'], ['sft', 'tp=2', 'one rank']] as const) {
  test(`a checkpoint of ${method} on ${from} that was cut for ${to} goes on as the original does there`, async (t) => {
    const { folder } = await run(t, method, from), checkpoint = path.join(folder, 'checkpoint-2'), output = path.join(temporaryFolder(t), 'cut')
    assert.deepEqual(await reshard({ checkpoint, mesh: parseMesh(to === 'one rank' ? 'tp=1' : to), output, warn }), { output, step: 2, before: from === 'one rank' ? '1 rank' : from === 'tp=2,pp=2' ? 'pp=2,tp=2' : from, after: to === 'one rank' ? '1 rank' : to.replace(':stage3', '') })
    assert.deepEqual((await run(t, method, to, output)).losses, (await run(t, method, to, checkpoint)).losses)
    if (method === 'lora') return
    // Back again, and both are the same model.
    const merged = await Promise.all([checkpoint, output].map((each) => mergeRanks({ checkpoint: each, output: path.join(temporaryFolder(t), 'merged'), warn })))
    sameFiles(merged[0].output, merged[1].output, merged[0].files)
  })
}

test('a checkpoint of several ranks is a model to look at and to ask; a broken one is refused by file', async (t) => {
  const folder = path.join(temporaryFolder(t), 'run'), checkpoint = path.join(folder, 'checkpoint-4')
  fs.cpSync((await run(t, 'sft', 'tp=2')).folder, folder, { recursive: true })
  const [whole, parts] = [await model(folder), await model(checkpoint)]
  assert.deepEqual([parts.format, parts.parameters, parts.types, parts.warnings], ['parts', whole.parameters, whole.types, []])
  assert.deepEqual((await checkpoints(folder)).checkpoints.map(({ kind, state }) => `${kind} ${state}`), ['model whole', 'model whole'])
  assert.deepEqual(partyOf(checkpoint, {}).sides.map(({ side, label }) => `${side} ${label}`), ['base base: untied', 'tuned tuned: checkpoint-4'])
  // The weights that another run begins with.
  const began = closing(t, await sft(checkpoint).data(data, { maxLength: 64 }).steps(1).batch(4).threads(1).device('cpu').output(temporaryFolder(t)).start())
  assert.equal((await began.done).steps, 1)
  await began.close()

  const rank = path.join(checkpoint, 'optimizer-rank-00001.safetensors'), bytes = fs.readFileSync(rank)
  bytes[bytes.length - 1] ^= 1
  fs.writeFileSync(rank, bytes)
  const broken = (what: RegExp) => (error: unknown): boolean => error instanceof CheckpointError && error.code === 'checkpoint.broken' && what.test(error.message)
  await assert.rejects(mergeRanks({ checkpoint, warn }), broken(/optimizer-rank-00001\.safetensors does not have the SHA-256/))
  await assert.rejects(reshard({ checkpoint, mesh: parseMesh('tp=1'), output: temporaryFolder(t), warn }), broken(/optimizer-rank-00001/))
  // Of the run's folder without its final weights the newest whole one is taken.
  fs.rmSync(path.join(folder, 'model.safetensors'))
  const said: string[] = []
  const { output } = await mergeRanks({ checkpoint: folder, warn: (code) => said.push(code) })
  assert.deepEqual([output, said], [path.join(folder, 'checkpoint-2', 'merged'), ['checkpoint.broken']])
  fs.rmSync(rank)
  await assert.rejects(model(checkpoint), (error) => error instanceof CheckpointError && error.code === 'checkpoint.parts' && /of rank 1 is missing/.test(error.message))
  fs.rmSync(path.join(checkpoint, 'manifest.json'))
  await assert.rejects(mergeRanks({ checkpoint, warn }), broken(/manifest\.json is missing/))
})

test("what is whole is copied, and PaddleNLP's tensor-parallel shards are converted", async (t) => {
  const whole = await mergeRanks({ checkpoint: models.tied, output: path.join(temporaryFolder(t), 'merged'), warn })
  assert.equal(whole.ranks, 1)
  sameFiles(models.tied, whole.output, ['model.safetensors', 'tokenizer.json'])
  const shards = await mergeRanks({ checkpoint: fixture('paddle', 'llama-tp2'), output: path.join(temporaryFolder(t), 'merged'), warn })
  assert.equal(shards.ranks, 2)
  assert.equal((await model(shards.output)).warnings.length, 0)
  await assert.rejects(mergeRanks({ checkpoint: 'no/such', warn }), (error) => error instanceof CheckpointError && error.code === 'checkpoint.missing')
})
