import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { Supervisor, type Verdict } from 'fettle/dist/worker/ranks/supervisor'
import { until } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'

const limit = 1000

/** Three processes that do nothing, and what each is said to have begun. */
class Ranks {
  readonly children: ChildProcess[] = []
  readonly supervisor: Supervisor
  private readonly counters: string[]

  constructor(t: TestContext, begun: readonly number[]) {
    const folder = temporaryFolder(t)
    this.counters = begun.map((_, rank) => path.join(folder, `collectives-${rank}`))
    for (const _ of begun) this.children.push(spawn('sleep', ['1000'], { stdio: 'ignore' }))
    t.after(() => { for (const child of this.children) child.kill('SIGKILL') })
    begun.forEach((count, rank) => this.count(rank, count))
    this.supervisor = new Supervisor({ ranks: this.counters.map((counter, rank) => ({ rank, pid: this.children[rank].pid!, counter })), limit })
  }

  count(rank: number, begun: number): void { fs.writeFileSync(this.counters[rank], Buffer.from(BigUint64Array.of(BigInt(begun)).buffer)) }

  /** Looks until the limit is over. */
  wait(): Verdict | null {
    for (let passed = 0; passed < limit; passed += 500) assert.equal(this.supervisor.look(500), null)
    return this.supervisor.look(500)
  }

  /** Processes have come to rest. */
  async settle(): Promise<void> { for (const child of this.children) await until('it sleeps', () => stateOf(child.pid!) === 'S') }
}

function stateOf(pid: number): string {
  const text = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2)[0]
}

test('of ranks that wait, the one that began the fewest collectives is missing', async (t) => {
  const ranks = new Ranks(t, [12, 12, 9])
  await ranks.settle()
  assert.deepEqual(ranks.wait(), { rank: 2, why: 'did not move for 1 s' })
})

test('a stopped one is said to be stopped', async (t) => {
  const ranks = new Ranks(t, [12, 9, 12])
  await ranks.settle()
  ranks.children[1].kill('SIGSTOP')
  await until('it is stopped', () => stateOf(ranks.children[1].pid!) === 'T')
  assert.deepEqual(ranks.wait(), { rank: 1, why: 'is stopped' })
})

test('nobody is blamed while one moves, while all have begun the same, or where the first is missing', async (t) => {
  const moving = new Ranks(t, [12, 12, 9])
  await moving.settle()
  for (let i = 0; i < 10; i++) {
    moving.count(0, 13 + i)
    assert.equal(moving.supervisor.look(500), null)
  }
  const idle = new Ranks(t, [12, 12, 12]), first = new Ranks(t, [9, 12, 12])
  await Promise.all([idle.settle(), first.settle()])
  assert.equal(idle.wait(), null)
  assert.equal(first.wait(), null)
})
