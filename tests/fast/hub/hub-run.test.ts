import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { HubError, sft, type RunEvent } from 'fettle'
import { isAlive } from 'fettle/dist/process'
import { bareHubs, environment } from '../../support/environment'
import { repoRoot } from '../../support/paths'
import { closing, reached, tinyRun } from '../../support/runs'
import { tinyData, tinyModel } from '../../support/tiny'
import { contentOf, fakeStudio, studioToken } from './aistudio-server'
import { uploadHub } from './hugging-face-uploads'

/** Every file below a folder as one text. */
function texts(folder: string): string {
  return fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .map((entry) => `${entry.name}\n${fs.readFileSync(path.join(entry.parentPath ?? entry.path, entry.name), 'latin1')}`).join('\n')
}

/** A tiny model on AI Studio, rows and an argument file that trains on them. */
async function workplace(t: TestContext, extra: Record<string, unknown>): Promise<{ folder: string; studio: Awaited<ReturnType<typeof fakeStudio>> }> {
  const folder = bareHubs(t), model = tinyModel(path.join(folder, 'model'))
  const files = Object.fromEntries(fs.readdirSync(model).map((name) => [name, fs.readFileSync(path.join(model, name))]))
  const studio = await fakeStudio(t, { 'org/tiny': files })
  const args = {
    model_name_or_path: 'org/tiny', from_aistudio: true, dataset_name_or_path: tinyData(path.join(folder, 'data')), output_dir: path.join(folder, 'out'), do_train: true, lora: true, max_steps: 2,
    save_strategy: 'steps', save_steps: 1, per_device_train_batch_size: 2, src_length: 32, max_length: 64, threads: 1, device: 'cpu', ...extra,
  }
  fs.writeFileSync(path.join(folder, 'args.json'), JSON.stringify(args))
  return { folder, studio }
}

function fettleRun(t: TestContext, ...args: string[]): { pid: number; exit: Promise<{ code: number | null; out: string; err: string }> } {
  const child = spawn(process.execPath, [path.join(repoRoot, 'sdk', 'bin', 'fettle.js'), 'run', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => { child.kill('SIGKILL') })
  let out = '', err = ''
  child.stdout.on('data', (data) => { out += data })
  child.stderr.on('data', (data) => { err += data })
  return { pid: child.pid!, exit: new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err }))) }
}

test('from AI Studio and back to it by an argument file, without the token anywhere', { timeout: 60_000 }, async (t) => {
  const { folder, studio } = await workplace(t, { save_to_aistudio: true, aistudio_repo_id: 'me/first', aistudio_repo_license: 'MIT License', aistudio_repo_private: false })
  const commandLines = new Set<string>()
  const { exit } = fettleRun(t, path.join(folder, 'args.json'), '--aistudio_token', studioToken, '--json', '--debug')
  // Of all processes there are, from the first request on, which the worker makes.
  const look = setInterval(() => { if (studio.requests.length > 0) for (const line of running()) commandLines.add(line) }, 20)
  t.after(() => clearInterval(look))
  const { code, out, err } = await exit
  clearInterval(look)
  assert.equal(code, 0, err)
  const events = out.trimEnd().split('\n').map((line) => JSON.parse(line) as RunEvent)
  const uploaded = events.find((event) => event.type === 'uploaded')!
  assert.deepEqual([uploaded.to, uploaded.repository, uploaded.url, uploaded.atStep], ['aistudio', 'me/first', `${studio.url}/me/first`, 2])
  assert.match(err, /^uploaded to /m)
  assert.match(err, /^note: aistudio_token is safer in the environment/m)
  const repository = studio.repositories.get('me/first')!
  assert.deepEqual([repository.private, repository.license, [...repository.files.keys()].sort()], [false, 'MIT License', [...uploaded.files].sort()])
  assert.ok(contentOf(studio, 'me/first', 'adapter_model.safetensors').equals(fs.readFileSync(path.join(folder, 'out', 'adapter_model.safetensors'))))
  assert.equal((JSON.parse(contentOf(studio, 'me/first', 'adapter_config.json').toString()) as { base_model_name_or_path: string }).base_model_name_or_path, 'aistudio:org/tiny')

  const left = texts(path.join(folder, 'out'))
  for (const name of ['metrics.jsonl', 'worker.log', 'plan.json', 'control.json']) assert.ok(left.includes(`${name}\n`) || name === 'control.json', name)
  for (const text of [left, out, err, texts(path.join(folder, 'fettle')), ...commandLines]) assert.ok(!text.includes(studioToken))
  if (process.platform === 'linux') assert.ok([...commandLines].some((line) => line.includes('worker.js')), 'command lines were seen')
})

/** Command lines of the processes of this machine. */
function running(): string[] {
  if (process.platform !== 'linux') return []
  return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isAlive(Number(name))).flatMap((pid) => {
    try { return [fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1')] } catch { return [] }
  })
}

test('an upload that fails is a warning that says how to repeat it; the result stands', { timeout: 60_000 }, async (t) => {
  const folder = bareHubs(t)
  await uploadHub(t)
  const run = closing(t, await tinyRun(folder, 2).upload('me/first', { private: false, license: 'mit' }).start({ tokens: { huggingface: 'hf_wr0ng' } }))
  const result = await run.done
  assert.equal(result.stopped, false)
  const warning = run.events.find((event) => event.type === 'warning' && event.code === 'upload.failed')
  assert.ok(warning?.type === 'warning', JSON.stringify(run.events))
  assert.ok(warning.message.includes(`npx fettle upload ${JSON.stringify(run.dir)} me/first --to huggingface --public --licence "mit"`), warning.message)
  assert.match(warning.message, /does not accept the token \(401\)/)
  assert.ok(fs.existsSync(path.join(run.dir, 'adapter_model.safetensors')))
  assert.equal(run.events.at(-1)!.type, 'done')
  await run.close()
  assert.doesNotMatch(texts(run.dir) + JSON.stringify(run.events) + JSON.stringify(run), /wr0ng/)
})

test('a stop ends an upload that hangs', { timeout: 60_000 }, async (t) => {
  const folder = bareHubs(t), hub = await uploadHub(t)
  let asked!: () => void
  const hanging = new Promise<void>((resolve) => { asked = resolve })
  hub.trouble = () => { asked(); return true }
  const run = closing(t, await tinyRun(folder, 2).upload('me/first').start({ tokens: { huggingface: 'hf_any' } }))
  await reached(run, 'saved')
  await hanging
  await run.stop()
  assert.ok(run.events.some((event) => event.type === 'warning' && event.message.includes('the run was stopped meanwhile')))
  assert.ok(fs.existsSync(path.join(run.dir, 'adapter_model.safetensors')))
})

test('a run that uploads without a token, or with a wrong one, is refused before it trains', async (t) => {
  const folder = bareHubs(t), plan = tinyRun(folder, 2).upload('me/first', { to: 'aistudio' })
  await assert.rejects(plan.start(), (error) => error instanceof HubError && error.code === 'upload.token' && error.message.includes('AISTUDIO_ACCESS_TOKEN'))
  assert.ok(!fs.existsSync(path.join(folder, 'out')))
  await assert.rejects(plan.start({ tokens: { aistudio: 5 as never } }), (error) => (error as Error).message.includes('tokens of .start()'))
  await assert.rejects(plan.start({ tokens: { studio: 's3cret' } as never }), (error) => /try aistudio/.test((error as Error).message) && !(error as Error).message.includes('s3cret'))
  environment(t, { AISTUDIO_ACCESS_TOKEN: 'a b' })
  await assert.rejects(plan.start(), { code: 'hub.token' })
  assert.throws(() => sft('m').upload('first'), { code: 'plan.value' })
  assert.equal(sft('m').upload('me/first').upload(null).plan.upload, null)
})
