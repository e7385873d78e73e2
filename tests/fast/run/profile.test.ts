import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { attach, PlanError, Profile, type StepEvent } from 'fettle'
import type { TraceEvent } from 'fettle/dist/profile/chrome'
import { closing, leaving, reached, tinyRun, until } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'

const losses = (run: { readonly events: readonly { readonly type: string }[] }): number[] => run.events.filter((event): event is StepEvent => event.type === 'step').map(({ loss }) => loss)
const refused = (code: string) => (error: unknown): boolean => error instanceof PlanError && error.code === code

test('a run tells where its steps go, trains on as if nobody looked, and leaves files', async (t) => {
  const folder = temporaryFolder(t), run = closing(t, await tinyRun(folder, 8).start()), plain = closing(t, await tinyRun(path.join(folder, 'plain'), 8).start())
  const [profile, second] = await Promise.all([run.profile({ steps: 2, skip: 1 }), run.profile({ steps: 1 })])
  assert.ok(profile instanceof Profile)
  assert.deepEqual([profile, second].map(({ steps }) => steps.map(({ step }) => step)), [[2, 3], [4]])
  await run.done
  await plain.done
  assert.deepEqual(losses(run), losses(plain))
  assert.equal(losses(run).length, 8)
  const event = run.events.find((each): each is StepEvent => each.type === 'step' && each.step === 2)!
  assert.ok(profile.steps[0].ms <= event.ms && profile.steps[0].ms > 0.5 * event.ms, `${profile.steps[0].ms} of ${event.ms}`)
  assert.deepEqual([profile.steps[0].tokens, profile.steps[0].supervised], [event.tokens, event.supervised])
  assert.ok(profile.limit.best > 1e8 && profile.totals.ofLimit > 0 && profile.totals.ofLimit < 1.5)
  assert.ok(['up', 'attention', 'head', 'update', 'between'].every((name) => profile.blocks.some((row) => row.name === name)))
  assert.ok(Math.abs(profile.parts.reduce((sum, { bytes }) => sum + bytes, 0) / profile.peak - 1) < 1e-6)
  assert.equal(profile.files?.json, path.join(run.dir, 'profile-2.json'))
  assert.deepEqual(Profile.read(profile.files!.json).blocks, profile.blocks)
  const { traceEvents } = JSON.parse(fs.readFileSync(profile.files!.trace, 'utf8')) as { traceEvents: TraceEvent[] }
  assert.deepEqual(traceEvents.filter((each) => each.ph === 'X' && each.cat === 'step').map(({ name }) => name), ['step 2', 'step 3'])
  await assert.rejects(run.profile(), refused('run.state'))
  await assert.rejects(run.profile({ steps: 0 }), refused('plan.value'))
  await assert.rejects(run.profile({ step: 3 } as never), /try steps/)
})

test('an attached run is profiled the same; while it is paused the profile waits; one that ends gives what it has', async (t) => {
  const folder = temporaryFolder(t), run = closing(t, await tinyRun(folder, 4000).start())
  await reached(run, 'started')
  const seen = leaving(t, await attach(run.dir))
  await run.pause()
  const paused = seen.profile({ steps: 1 }), at = losses(run).length
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.equal(losses(run).length, at)
  await run.resume()
  assert.equal((await paused).steps.length, 1)
  const none = seen.profile({ steps: 1, skip: 10_000 }), rest = assert.rejects(none, refused('run.leaving'))
  // The two handles have a wire each: the stop must not overtake what it ends.
  await until('the worker has taken the profile', () => run.events.filter((event) => event.type === 'command' && event.command === 'profile').length === 2)
  const stopped = await run.stop()
  await rest
  assert.ok(stopped.stopped)
  const again = closing(t, await tinyRun(path.join(folder, 'short'), 4).start())
  assert.deepEqual((await again.profile({ steps: 100, skip: 1 })).steps.map(({ step }) => step), [2, 3, 4])
})

test('of two ranks each is a process of the trace, with the time of its collectives', async (t) => {
  const run = closing(t, await tinyRun(temporaryFolder(t), 4).tp(2).device('cpu').start()), profile = await run.profile({ steps: 1, skip: 1 })
  assert.deepEqual(profile.ranks.map(({ rank }) => rank), [0, 1])
  for (const { spans, parts, memory } of profile.ranks) {
    assert.ok(spans.filter(({ kind, name }) => kind === 'communication' && name === 'allReduce').length >= 2 * 3 * 2)
    assert.ok(Math.abs(parts.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(...memory.map(({ resident }) => resident)) - 1) < 1e-6)
  }
  const { traceEvents } = JSON.parse(fs.readFileSync(profile.files!.trace, 'utf8')) as { traceEvents: TraceEvent[] }
  assert.deepEqual(traceEvents.filter(({ name }) => name === 'process_name').map(({ pid }) => pid), [0, 1])
  await run.done
  assert.ok(!fs.readdirSync(run.dir).some((name) => name.startsWith('.profile')))
})
