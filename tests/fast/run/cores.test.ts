import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import { test } from 'node:test'
import { readMachine } from 'fettle/dist/parallel/launch/machine'
import { closing, tinyRun } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'

const cannot = os.availableParallelism() < 2 ? 'there is one core' : readMachine().binder === null ? 'nothing here binds processes to cores' : false

/** What a process may run on, by /proc. */
const statusOf = (pid: string | number, field: string): string => new RegExp(`^${field}:\\s*(\\S+)$`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))![1]

function childrenOf(pid: number): string[] {
  return fs.readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && statusOf(name, 'PPid') === String(pid) && fs.readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('follower-process')
    } catch { return false } // it has ended since
  })
}

test('ranks of a run compute on different cores', { skip: cannot }, async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 1000).dp(2).device('cpu').start())
  for await (const event of run) if (event.type === 'step') break
  const ranks = [run.pid, ...childrenOf(run.pid)], cores = ranks.map((pid) => statusOf(pid, 'Cpus_allowed_list'))
  assert.equal(ranks.length, 2)
  assert.equal(new Set(cores).size, 2, `both may run on ${cores}`)
  await run.stop()
})
