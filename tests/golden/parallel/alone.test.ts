import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { sft, type FettleError, type Run, type RunEvent, type Sft } from 'fettle'
import { closing, until } from '../../support/runs'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

// What happens to one rank alone must neither leave the others waiting nor be blamed on them.

interface Started { readonly run: Run; readonly events: RunEvent[] }

async function started(t: TestContext, divided: (builder: Sft) => Sft, golden?: string): Promise<Started> {
  const folder = temporaryFolder(t), events: RunEvent[] = []
  const builder = sft(tinyModel(path.join(folder, 'model'), golden)).data(tinyData(path.join(folder, 'data')), { maxLength: 64, srcLength: 32, template: 'none' })
    .batch(2).steps(4).device('cpu').threads(1).save({ each: 'never' }).output(path.join(folder, 'out'))
  return { run: closing(t, await divided(builder).start({ onEvent: (event) => events.push(event), board: false })), events }
}

/** For the processes that a test starts. */
function environment(t: TestContext, name: string, value: string): void {
  const before = process.env[name]
  process.env[name] = value
  t.after(() => { if (before === undefined) delete process.env[name]; else process.env[name] = before })
}

/** The disk of a rank is full as it writes its part of a checkpoint. */
function fillDisk(t: TestContext, rank: number, checkpoint: string): void {
  const file = path.join(temporaryFolder(t), 'full.js')
  fs.writeFileSync(file, `const fs = require('fs'), write = fs.writeFileSync
    fs.writeFileSync = (file, ...rest) => {
      if (String(file).includes('${checkpoint}') && String(file).endsWith('generators-rank-0000${rank}.json')) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
      return write(file, ...rest)
    }`)
  environment(t, 'NODE_OPTIONS', `--require ${file}`)
}

for (const rank of [0, 1]) {
  test(`a checkpoint that does not fit the disk of rank ${rank} is left out, and training goes on`, async (t) => {
    fillDisk(t, rank, 'checkpoint-2')
    const { run, events } = await started(t, (builder) => builder.tp(2).save({ every: 2 }))
    await run.done
    assert.ok(events.some((event) => event.type === 'warning' && event.code === 'checkpoint.disk-full' && event.message.includes('no space')))
    assert.deepEqual(fs.readdirSync(run.dir).filter((name) => name.startsWith('checkpoint-')), ['checkpoint-4'])
  })
}

test('stages with more collectives than others wait for commands as long as it takes', async (t) => {
  environment(t, 'FETTLE_RANK_TIMEOUT', '1000')
  // Of three layers the first stage has two.
  const { run } = await started(t, (builder) => builder.tp(2).pp(2))
  await run.done
  await new Promise((resolve) => setTimeout(resolve, 3000))
  assert.equal(typeof await run.generate('n 1:', { maxNewTokens: 2 }), 'string')
})

test('a prompt that is too long is refused before the other ranks begin with it', async (t) => {
  const { run } = await started(t, (builder) => builder.tp(2), 'opt-125m-style')
  await run.done
  await assert.rejects(run.generate('n 1:'.repeat(100), { maxNewTokens: 2 }), (error: FettleError) => error.code === 'batch.length')
  assert.equal(typeof await run.generate('n 1:', { maxNewTokens: 2 }), 'string')
})

test('a rank that is gone after training is named to who asks, and the run ends', async (t) => {
  const { run } = await started(t, (builder) => builder.dp(2))
  await run.done
  const rank = fs.readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8').trim().split(' ').map(Number)
    .find((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('follower-process'))!
  process.kill(rank, 'SIGKILL')
  await assert.rejects(run.generate('n 1:', { maxNewTokens: 2 }), (error: FettleError) => error.code === 'worker.killed' && /^rank 1 of 2/.test(error.message))
  await until('the run has ended', () => !run.alive)
})
