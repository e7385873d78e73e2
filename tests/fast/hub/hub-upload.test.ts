import * as assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { upload, type UploadProgress } from 'fettle'
import { bareHubs, environment } from '../../support/environment'
import { repoRoot } from '../../support/paths'
import { refusal, refusalOf } from '../../support/refusal'
import { contentOf, fakeStudio, studioToken } from './aistudio-server'
import { hubToken, uploadHub } from './hugging-face-uploads'

const weights = randomBytes(1 << 20)

/** The output folder of a run: what goes up, and what must stay at home. */
function outputFolder(home: string): string {
  const folder = path.join(home, 'out')
  mkdirSync(path.join(folder, 'checkpoint-4'), { recursive: true })
  const files: Record<string, string | Buffer> = {
    'adapter_model.safetensors': weights, 'adapter_config.json': JSON.stringify({ base_model_name_or_path: 'org/base' }), 'tokenizer.json': '{}',
    'metrics.jsonl': '{}', 'worker.log': '', 'control.json': '{"token":"of the socket"}', 'generated_output.json': '{}', 'checkpoint-4/model.safetensors': 'no',
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(folder, name), content)
  return folder
}

function fettle(t: TestContext, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [path.join(repoRoot, 'sdk', 'bin', 'fettle.js'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => { child.kill('SIGKILL') })
  let out = '', err = ''
  child.stdout.on('data', (data) => { out += data })
  child.stderr.on('data', (data) => { err += data })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

test('to Hugging Face: a private repository, one commit, a card; again, without sending what is there', async (t) => {
  const home = bareHubs(t), hub = await uploadHub(t), folder = outputFolder(home)
  environment(t, { HF_TOKEN: hubToken })
  const seen: UploadProgress[] = []
  const { url, files } = await upload(folder, 'me/first', { license: 'Apache License 2.0', onProgress: (progress) => seen.push(progress) })
  assert.equal(url, `${hub.url}/me/first`)
  assert.deepEqual(files, ['adapter_config.json', 'adapter_model.safetensors', 'tokenizer.json'])
  const repository = hub.repositories.get('me/first')!
  assert.equal(repository.visibility, 'private')
  assert.deepEqual([...repository.files.keys()].sort(), ['README.md', ...files])
  assert.ok(repository.files.get('adapter_model.safetensors')!.equals(weights))
  assert.match(repository.files.get('README.md')!.toString(), /^---\nlicense: "apache-2.0"\nbase_model: org\/base\nlibrary_name: peft\n/)
  assert.ok(['create', 'hash', 'upload', 'commit'].every((stage) => seen.some((each) => each.stage === stage)), JSON.stringify(seen))
  assert.ok(hub.requests.every((request) => request.path.startsWith('/storage') ? true : request.authorization === `Bearer ${hubToken}`))
  const puts = () => hub.requests.filter(({ method }) => method === 'PUT').length
  assert.equal(puts(), 1)
  await upload(folder, 'me/first')
  assert.deepEqual([repository.commits.length, puts()], [2, 1])
  hub.part = 300_000
  hub.storage.clear()
  await upload(folder, 'me/second', { private: false })
  assert.equal(hub.repositories.get('me/second')!.visibility, 'public')
  assert.ok(hub.repositories.get('me/second')!.files.get('adapter_model.safetensors')!.equals(weights), 'in parts')
})

test("Hugging Face's refusals say what to do, and never show the token or a signature", async (t) => {
  const home = bareHubs(t), hub = await uploadHub(t), folder = outputFolder(home)
  await refusalOf(upload(folder, 'me/first'), 'upload.token', 'HF_TOKEN')
  environment(t, { HF_TOKEN: 'wr0ng' })
  const errors = [await refusalOf(upload(folder, 'me/first'), 'upload.unauthorized', '401', 'HF_TOKEN')]
  environment(t, { HF_TOKEN: hubToken })
  errors.push(await refusalOf(upload(folder, 'other/first'), 'upload.forbidden', '403', 'write access'))
  hub.trouble = (request, response) => {
    if (!request.url!.startsWith('/storage')) return false
    response.writeHead(404).end('gone')
    return true
  }
  errors.push(await refusalOf(upload(folder, 'me/first'), 'upload.notFound', '404'))
  hub.trouble = (request, response) => {
    if (!request.url!.startsWith('/storage')) return false
    response.destroy()
    return true
  }
  errors.push(await refusalOf(upload(folder, 'me/first'), 'upload.network', '127.0.0.1'))
  hub.trouble = (_, response) => { response.writeHead(200, { 'content-type': 'application/json' }).end('<html>'); return true }
  errors.push(await refusalOf(upload(folder, 'me/first'), 'upload.hub', 'not understood'))
  for (const error of errors) assert.doesNotMatch(JSON.stringify(error), /wr0ng|5ecret|s1gnature/)
  await refusalOf(upload(home, 'me/first'), 'upload.folder', 'no weights')
  refusal(() => upload(folder, 'first'), 'plan.value', 'OWNER/NAME')
  environment(t, { HF_HUB_OFFLINE: '1' })
  await refusalOf(upload(folder, 'me/first'), 'upload.offline', 'HF_HUB_OFFLINE')
})

test('to AI Studio: privacy, licence, LFS; again as an update; a cut connection is tried again', async (t) => {
  const home = bareHubs(t), studio = await fakeStudio(t), folder = outputFolder(home)
  let cuts = 1
  studio.trouble = (request, response) => {
    if (request.method !== 'PUT' || cuts-- <= 0) return false
    response.destroy()
    return true
  }
  const { url, files } = await upload(folder, 'me/first', { to: 'aistudio', token: studioToken, license: 'MIT License' })
  assert.equal(url, `${studio.url}/me/first`)
  const repository = studio.repositories.get('me/first')!
  assert.deepEqual([repository.private, repository.license, [...repository.files.keys()]], [true, 'MIT License', files])
  assert.ok(contentOf(studio, 'me/first', 'adapter_model.safetensors').equals(weights))
  assert.equal(contentOf(studio, 'me/first', 'tokenizer.json').toString(), '{}')
  for (const { path: asked, authorization } of studio.requests) assert.equal(authorization, asked.startsWith('/storage') ? 'signed' : `token ${studioToken}`, asked)
  writeFileSync(path.join(folder, 'tokenizer.json'), '{"a":1}')
  const puts = studio.requests.filter(({ method }) => method === 'PUT').length
  await upload(folder, 'me/first', { to: 'aistudio', token: studioToken })
  assert.equal(contentOf(studio, 'me/first', 'tokenizer.json').toString(), '{"a":1}')
  assert.deepEqual([studio.commits.length, studio.requests.filter(({ method }) => method === 'PUT').length], [2, puts])
  await upload(folder, 'me/open', { to: 'aistudio', token: studioToken, private: false })
  assert.deepEqual([studio.repositories.get('me/open')!.private, studio.repositories.get('me/open')!.license], [false, 'Apache License 2.0'])
})

test("AI Studio's refusals say what to do, and never show the token", async (t) => {
  const home = bareHubs(t), studio = await fakeStudio(t), folder = outputFolder(home)
  await refusalOf(upload(folder, 'me/first', { to: 'aistudio' }), 'upload.token', 'AISTUDIO_ACCESS_TOKEN')
  const errors = [
    await refusalOf(upload(folder, 'me/first', { to: 'aistudio', token: 'wr0ng' }), 'upload.unauthorized', '401', 'AISTUDIO_ACCESS_TOKEN'),
    await refusalOf(upload(folder, 'me/first', { to: 'aistudio', token: studioToken, license: 'unknown' }), 'upload.create', 'license not supported', '4001'),
    await refusalOf(upload(folder, 'you/first', { to: 'aistudio', token: studioToken }), 'upload.notFound', '404'),
  ]
  writeFileSync(path.join(folder, 'vocab.json'), Buffer.alloc(6 << 20, 'a'))
  errors.push(await refusalOf(upload(folder, 'me/first', { to: 'aistudio', token: studioToken }), 'upload.tooLarge', 'vocab.json', 'LFS'))
  rmSync(path.join(folder, 'vocab.json'))
  studio.trouble = (request, response) => {
    if (request.method !== 'PUT') return false
    response.writeHead(403).end()
    return true
  }
  errors.push(await refusalOf(upload(folder, 'me/first', { to: 'aistudio', token: studioToken }), 'upload.forbidden', '403'))
  for (const error of errors) assert.doesNotMatch(JSON.stringify(error), /wr0ng|5ecret|s1gnature/)
})

test('fettle upload: flags, exit codes, JSON', async (t) => {
  const home = bareHubs(t), hub = await uploadHub(t), folder = outputFolder(home)
  environment(t, { HF_TOKEN: hubToken })
  const good = await fettle(t, 'upload', folder, 'me/first', '--public', '--licence', 'mit', '--json')
  assert.equal(good.code, 0, good.err)
  assert.deepEqual(JSON.parse(good.out), { url: `${hub.url}/me/first`, files: ['adapter_config.json', 'adapter_model.safetensors', 'tokenizer.json'] })
  assert.equal(hub.repositories.get('me/first')!.visibility, 'public')
  const bad = await fettle(t, 'upload', folder, 'you/first')
  assert.equal(bad.code, 7, bad.err)
  assert.match(bad.err, /write access/)
  const wrong = await fettle(t, 'upload', folder, 'me/first', '--public', '--private')
  assert.equal(wrong.code, 2)
  assert.ok(readFileSync(path.join(folder, 'adapter_model.safetensors')).equals(weights))
})
