import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { Supervisor, type Verdict } from 'fettle/dist/worker/ranks/supervisor'
import { until } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'

const limit = 1000

/** How far a rank is said to be. */
interface Progress { readonly begun: number; readonly waits: boolean }

const waiting: Progress = { begun: 12, waits: true }, elsewhere: Progress = { begun: 12, waits: false }

/** Processes that do nothing, and how far each is said to be. */
class Ranks {
  readonly children: ChildProcess[] = []
  readonly supervisor: Supervisor
  private readonly files: string[]

  constructor(t: TestContext, progress: readonly Progress[]) {
    const folder = temporaryFolder(t)
    this.files = progress.map((_, rank) => path.join(folder, `progress-${rank}`))
    for (const _ of progress) this.children.push(spawn('sleep', ['1000'], { stdio: 'ignore' }))
    t.after(() => { for (const child of this.children) child.kill('SIGKILL') })
    progress.forEach((each, rank) => this.show(rank, each))
    this.supervisor = new Supervisor({ ranks: this.files.map((file, rank) => ({ rank, pid: this.children[rank].pid!, progress: file })), limit })
  }

  show(rank: number, { begun, waits }: Progress): void { fs.writeFileSync(this.files[rank], Buffer.from(BigUint64Array.of(BigInt(begun), waits ? 1n : 0n).buffer)) }

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

test('of ranks of which nobody moves, one that does not wait for the others is missing, however many collectives it has begun', async (t) => {
  const ranks = new Ranks(t, [waiting, { begun: 7, waits: true }, { begun: 40, waits: false }])
  await ranks.settle()
  assert.deepEqual(ranks.wait(), { rank: 2, why: 'did not move for 1 s' })
})

test('a stopped one is said to be stopped, even where it is in a collective', async (t) => {
  const ranks = new Ranks(t, [waiting, waiting, waiting])
  await ranks.settle()
  ranks.children[1].kill('SIGSTOP')
  await until('it is stopped', () => stateOf(ranks.children[1].pid!) === 'T')
  assert.deepEqual(ranks.wait(), { rank: 1, why: 'is stopped' })
})

test('nobody is blamed while one moves, while all wait, or while the first one waits for commands', async (t) => {
  const moving = new Ranks(t, [waiting, waiting, elsewhere])
  await moving.settle()
  for (let i = 0; i < 10; i++) {
    moving.show(0, { begun: 13 + i, waits: true })
    assert.equal(moving.supervisor.look(500), null)
  }
  // Stages have begun as many as their layers ask for.
  const all = new Ranks(t, [waiting, waiting, { begun: 5, waits: true }]), idle = new Ranks(t, [elsewhere, waiting, { begun: 5, waits: true }])
  await Promise.all([all.settle(), idle.settle()])
  assert.equal(all.wait(), null)
  assert.equal(idle.wait(), null)
})
