import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import { attach, chat, sft, type AttachedRun, type RemoteOptions, type Sft } from 'fettle'
import { isAlive } from 'fettle/dist/process'
import { leaving, reached, until } from './runs'
import { temporaryFolder, tinyData, tinyModel } from './tiny'

/** A folder of "another host", whose name no shell leaves alone, with the tiny model and data; and a long run on two ranks there. */
export function farFolder(t: TestContext): { far: string; builder: Sft } {
  const far = path.join(fs.realpathSync(temporaryFolder(t)), "it's far")
  tinyModel(path.join(far, 'model'))
  tinyData(path.join(far, 'data'))
  const builder = sft('model').data('data', { maxLength: 64, srcLength: 32, template: 'none' }).batch(2).steps(100_000).device('cpu').threads(1)
    .sample({ each: 'never', prompts: ['n 1:'], maxNewTokens: 3 }).save({ each: 'never' }).output('out').tp(2)
  return { far, builder }
}

/** Ends the run with the test, whoever sees it then. */
export function endingRun(t: TestContext, dir: string, options: RemoteOptions = {}): void {
  t.after(async () => {
    const run = await attach(dir, options).catch(() => null)
    if (run?.alive) await run.stop().catch(() => { /* It has ended meanwhile. */ })
    run?.close()
  })
}

/** Process ids of the relays that look at a folder. */
function relaysOf(folder: string): number[] {
  const lines = spawnSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).stdout.split('\n')
  return lines.filter((line) => line.includes(folder) && /^\s*\d+ \S+ \S+fettle\.js relay /.test(line)).map((line) => parseInt(line, 10))
}

/** A run on a host with two ranks: every control, a connection that is lost, another one, and a stop that leaves a checkpoint. */
export async function remoteStory(t: TestContext, host: string, options: RemoteOptions): Promise<void> {
  const { far, builder } = farFolder(t), seen: string[] = []
  const run = leaving(t, await builder.start({ hosts: [`${host}:2`], cwd: far, ...options, onEvent: ({ type }) => { seen.push(type) } }))
  endingRun(t, run.dir, options)
  assert.deepEqual([run.dir, run.alive, run.detached], [`ssh://${host}${far}/out`, true, true])
  await reached(run, 'step', 2)
  await controls(run)

  const other = leaving(t, await attach(run.dir, options))
  assert.equal(other.id, run.id)
  assert.deepEqual(other.events.slice(0, 6), run.events.slice(0, 6))
  const [relay] = relaysOf(path.join(far, 'out'))
  const ended = assert.rejects(other.done, (error: Error & { code: string }) => error.code === 'run.lost' && error.message.includes(`attach('${run.dir}')`) && /goes on/.test(error.message))
  process.kill(relay, 'SIGKILL')
  await ended
  assert.deepEqual([other.state, other.alive], ['lost', false])
  await assert.rejects(other.pause(), { code: 'run.lost' })
  await assert.rejects(other.generate('x'), { code: 'run.lost' })

  const again = leaving(t, await attach(run.dir, options)), step = again.metrics.numRows
  await reached(again, 'step', step + 2)
  const [result, same] = await Promise.all([again.stop(), run.done])
  assert.deepEqual([result.stopped, result.output, result.steps, run.state], [true, path.join(far, 'out'), same.steps, 'stopped'])
  assert.ok(fs.existsSync(path.join(far, 'out', `checkpoint-${result.steps}`, 'manifest.json')))
  await until('events are told', () => seen.includes('done'))
  assert.deepEqual(seen, run.events.map(({ type }) => type))
  const pid = run.events.find((event) => event.type === 'started')!.pid
  await until('worker and relays are gone', () => !isAlive(pid) && !run.alive && relaysOf(path.join(far, 'out')).length === 0)
  const late = leaving(t, await attach(run.dir, options))
  assert.deepEqual([late.state, late.events], ['stopped', run.events])
  await assert.rejects(late.save(), { code: 'worker.gone' })
}

async function controls(run: AttachedRun): Promise<void> {
  await run.pause()
  assert.equal(run.state, 'paused')
  await assert.rejects(run.pause(), { code: 'run.state' })
  const tokens: string[] = []
  const answer = await run.generate('n 1:', { maxNewTokens: 4, onToken: (text) => { tokens.push(text) } })
  assert.equal(tokens.join(''), answer)
  const pieces: string[] = []
  for await (const piece of run.stream('n 1:', { maxNewTokens: 4 })) pieces.push(piece)
  assert.equal(pieces.join(''), answer)
  for await (const _ of run.stream('n 1:', { maxNewTokens: 50 })) break
  const talk = await chat(run, { sides: ['tuned'], maxNewTokens: 4 })
  assert.equal((await talk.ask('n 1:')).tuned, answer)
  await talk.close()
  assert.ok((await run.evaluate()).loss > 0)
  assert.equal((await run.sample()).samples.length, 1)
  await run.set({ learningRate: 1e-5 })
  assert.match(await run.save(), /checkpoint-\d+$/)
  await assert.rejects(run.checkpoints(), { code: 'run.elsewhere' })
  await run.resume()
  assert.equal(run.state, 'training')
}
