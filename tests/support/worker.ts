import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import type { RunEvent } from 'fettle/dist/run/events'
import type { Command, FromWorker, Replies } from 'fettle/dist/run/protocol'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import type { Plan } from 'fettle/dist/plan/plan'
import { tinyData, tinyModel } from './tiny'
import { repoRoot } from './paths'

type Message<K extends FromWorker['kind']> = Extract<FromWorker, { kind: K }>
type Kind<T extends RunEvent['type']> = Extract<RunEvent, { type: T }>

/** A rank worker driven as the front drives it. */
export class TestWorker {
  readonly events: RunEvent[] = []
  readonly tokens: Message<'token'>[] = []
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  readonly child: ChildProcess
  stderr = ''
  private readonly replies = new Map<number, (reply: Message<'reply'>) => void>()
  private readonly watchers = new Set<() => void>()
  private next = 1
  private gone = false

  constructor(plan: Plan) {
    this.child = fork(path.join(repoRoot, 'sdk', 'dist', 'worker.js'), [], { serialization: 'advanced', execArgv: [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: { ...process.env, OMP_NUM_THREADS: '1' } })
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => { this.stderr += text })
    this.child.on('message', (message: FromWorker) => {
      if (message.kind === 'event') this.events.push(message.event)
      if (message.kind === 'token') this.tokens.push(message)
      if (message.kind === 'reply') this.replies.get(message.id)?.(message)
      for (const look of this.watchers) look()
    })
    this.exit = new Promise((resolve) => this.child.on('exit', (code, signal) => {
      this.gone = true
      for (const look of this.watchers) look()
      resolve({ code, signal })
    }))
    this.child.send({ kind: 'start', plan })
  }

  of<T extends RunEvent['type']>(type: T): Kind<T>[] { return this.events.filter((event): event is Kind<T> => event.type === type) }

  /** The first event of a type (that `accepts` takes), also one that came already. */
  event<T extends RunEvent['type']>(type: T, accepts: (event: Kind<T>) => boolean = () => true): Promise<Kind<T>> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.of(type).find(accepts)
        if (found === undefined && !this.gone) return
        this.watchers.delete(look)
        if (found !== undefined) resolve(found)
        else reject(new Error(`the worker ended without a ${type} event: ${JSON.stringify(this.of('failed').at(-1)?.error ?? this.stderr)}`))
      }
      this.watchers.add(look)
      look()
    })
  }

  async command<N extends Command['name']>(command: Extract<Command, { name: N }>): Promise<Replies[N]> {
    const id = this.next++
    const reply = await new Promise<Message<'reply'>>((resolve) => {
      this.replies.set(id, resolve)
      this.child.send({ kind: 'command', id, command })
    })
    if (reply.error) throw Object.assign(new Error(reply.error.message), reply.error)
    return reply.value as Replies[N]
  }

  async close(): Promise<number | null> {
    await this.command({ name: 'close' })
    return (await this.exit).code
  }
}

/** Starts a worker on a plan; it is killed if the test leaves it. */
export function startWorker(t: TestContext, plan: Plan): TestWorker {
  const worker = new TestWorker(plan)
  t.after(async () => {
    worker.child.kill('SIGKILL')
    await worker.exit
  })
  return worker
}

/** A plan on the tiny model and data below `folder`. */
export function workerPlan(folder: string, changes: Partial<Plan>): Plan {
  const model = path.join(folder, 'model'), data = path.join(folder, 'data')
  if (!fs.existsSync(model)) tinyModel(model)
  if (!fs.existsSync(data)) tinyData(data)
  const base = defaultPlan(model)
  return {
    ...base, data: { ...base.data, path: data, srcLength: 32, maxLength: 64 }, output: path.join(folder, 'out'), threads: 1,
    batch: { size: 2, evalSize: 4, accumulate: 2, tokens: null }, optimizer: { ...base.optimizer, learningRate: 1e-3 },
    save: { cadence: { by: 'no' }, keep: 2 }, ...changes
  }
}

/** Events of the output folder's metrics.jsonl. */
export function readMetrics(output: string): RunEvent[] {
  return fs.readFileSync(path.join(output, 'metrics.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as RunEvent)
}

/** Stops a run once it has done so many steps, with a checkpoint, and goes on from there to its end, without a warning. */
export async function stopAndResume(t: TestContext, plan: Plan, step: number): Promise<{ readonly at: number; readonly checkpoint: string | null }> {
  const stopped = startWorker(t, plan)
  await stopped.event('step', (event) => event.step >= step)
  const { path: checkpoint } = await stopped.command({ name: 'stop' })
  const at = (await stopped.event('done')).atStep
  await stopped.close()
  const resumed = startWorker(t, { ...plan, resume: true })
  await resumed.event('done')
  assert.equal(resumed.of('started')[0].startStep, at)
  assert.deepEqual(resumed.of('warning'), [])
  await resumed.close()
  return { at, checkpoint }
}
