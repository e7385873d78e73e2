import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { CheckpointError } from 'fettle/dist/errors'
import { checkpointFolder, findCheckpoint, listCheckpoints, pruneCheckpoints } from 'fettle/dist/train/checkpoints'
import { cleanLeftovers, verifyManifest, writeWhole } from 'fettle/dist/train/manifest'

function temporary(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-checkpoints-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}
const save = (output: string, step: number, text = `weights of ${step}`): Promise<unknown> =>
  writeWhole(checkpointFolder(output, step), step, (folder) => {
    fs.writeFileSync(path.join(folder, 'weights.bin'), text)
    fs.mkdirSync(path.join(folder, 'deeper'))
    fs.writeFileSync(path.join(folder, 'deeper', 'state.json'), '{}')
  })

test('a checkpoint is whole, lists every file, and is found again', async (t) => {
  const output = temporary(t)
  await save(output, 10)
  await save(output, 20)
  const found = await findCheckpoint(output, true, () => assert.fail('no warning expected'))
  assert.equal(found.step, 20)
  assert.deepEqual(Object.keys(found.manifest.files), ['deeper/state.json', 'weights.bin'])
  assert.deepEqual(fs.readdirSync(output).sort(), ['checkpoint-10', 'checkpoint-20'])
  assert.equal((await findCheckpoint('elsewhere', checkpointFolder(output, 10), () => {})).step, 10)
  assert.equal((await findCheckpoint('elsewhere', output, () => {})).step, 20)
})

const damages: [string, (folder: string) => void, RegExp][] = [
  ['a flipped byte', (folder) => fs.writeFileSync(path.join(folder, 'weights.bin'), 'weights of 2O'), /weights\.bin does not have the SHA-256/],
  ['a cut file', (folder) => fs.truncateSync(path.join(folder, 'weights.bin'), 3), /weights\.bin has 3 bytes/],
  ['a lost file', (folder) => fs.rmSync(path.join(folder, 'deeper', 'state.json')), /state\.json is missing/],
  ['no manifest', (folder) => fs.rmSync(path.join(folder, 'manifest.json')), /manifest\.json is missing/],
  ['half a manifest', (folder) => fs.truncateSync(path.join(folder, 'manifest.json'), 20), /manifest\.json is not readable/]
]
for (const [name, damage, message] of damages) {
  test(`${name}: refused by name when asked for, passed over with a warning otherwise`, async (t) => {
    const output = temporary(t)
    await save(output, 10)
    await save(output, 20)
    damage(checkpointFolder(output, 20))
    await assert.rejects(findCheckpoint(output, checkpointFolder(output, 20), () => {}), (error: unknown) => error instanceof CheckpointError && message.test(error.message))
    const warnings: string[] = []
    assert.equal((await findCheckpoint(output, true, (_, text) => warnings.push(text))).step, 10)
    assert.equal(warnings.length, 1)
    assert.match(warnings[0], message)
  })
}

test('only broken ones: the error names a file', async (t) => {
  const output = temporary(t)
  await save(output, 10)
  fs.truncateSync(path.join(checkpointFolder(output, 10), 'weights.bin'), 1)
  await assert.rejects(findCheckpoint(output, true, () => {}), /weights\.bin/)
  await assert.rejects(findCheckpoint(temporary(t), true, () => {}), { code: 'checkpoint.missing' })
})

test('a failed save leaves nothing and keeps the older one', async (t) => {
  const output = temporary(t)
  await save(output, 10)
  const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
  await assert.rejects(writeWhole(checkpointFolder(output, 10), 10, (folder) => {
    fs.writeFileSync(path.join(folder, 'weights.bin'), 'half')
    throw full
  }), full)
  assert.deepEqual(fs.readdirSync(output), ['checkpoint-10'])
  await verifyManifest(checkpointFolder(output, 10))
})

test('saving the same step again replaces it', async (t) => {
  const output = temporary(t)
  await save(output, 10, 'first')
  await save(output, 10, 'second')
  assert.equal(fs.readFileSync(path.join(checkpointFolder(output, 10), 'weights.bin'), 'utf8'), 'second')
  assert.deepEqual(fs.readdirSync(output), ['checkpoint-10'])
})

test('keep deletes those written longest ago, never the newest', async (t) => {
  const output = temporary(t)
  for (const step of [10, 20, 30]) await save(output, step)
  assert.deepEqual(pruneCheckpoints(output, null), [])
  pruneCheckpoints(output, 2)
  assert.deepEqual(listCheckpoints(output).map((entry) => entry.step), [30, 20])
  await save(output, 15) // a run that went back to 10: what it writes now is newer than 30
  pruneCheckpoints(output, 0)
  assert.deepEqual(listCheckpoints(output).map((entry) => entry.step), [15])
})

test('kill -9 at any moment of a save leaves the older one loadable', async (t) => {
  const output = temporary(t)
  await save(output, 10)
  const script = `
    const { writeWhole } = require(${JSON.stringify(require.resolve('fettle/dist/train/manifest'))})
    const fs = require('fs'), path = require('path')
    const bytes = Buffer.alloc(16 << 20, 7)
    async function main() {
      for (;;) await writeWhole(${JSON.stringify(checkpointFolder(output, 20))}, 20, async (folder) => {
        process.stdout.write('saving\\n')
        fs.writeFileSync(path.join(folder, 'weights.bin'), bytes)
      })
    }
    main()`
  for (const delay of [0, 7, 15, 30, 60]) {
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => child.stdout.once('data', resolve))
    await new Promise((resolve) => setTimeout(resolve, delay))
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
    cleanLeftovers(output)
    const found = await findCheckpoint(output, true, (_, text) => assert.fail(text))
    assert.ok(found.step === 10 || found.step === 20)
    assert.ok(fs.readdirSync(output).every((name) => /^checkpoint-\d+$/.test(name)), fs.readdirSync(output).join())
  }
})
