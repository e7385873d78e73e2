import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { sft, TrainingError } from 'fettle'
import { inFlags } from 'fettle/dist/run/death'
import { shapedData, shapedModel, shapes } from '../../support/forecast'
import { temporaryFolder } from '../../support/tiny'

const programs = ['/usr/bin/prlimit', '/bin/prlimit'].filter((file) => fs.existsSync(file))

test('memory that runs out ends the run with a smaller way to the same steps, and this process goes on', { skip: programs.length === 0 && 'there is no prlimit' }, async (t) => {
  const folder = temporaryFolder(t), model = shapedModel(path.join(folder, 'model'), shapes.llama), data = shapedData(path.join(folder, 'data'), 64, 100, 200)
  const builder = sft(model).data(data, { maxLength: 1024 }).batch(16).steps(2).device('cpu').threads(1).output(path.join(folder, 'out'))
  const run = await builder.start(), error = run.done.then(() => null, (reason: unknown) => reason)
  for await (const event of run) {
    if (event.type !== 'started') continue
    const size = Number(/^VmSize:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${run.pid}/status`, 'utf8'))![1]) * 1024
    execFileSync(programs[0], ['--pid', String(run.pid), `--as=${size + (16 << 20)}`])
  }
  const reason = await error
  assert.ok(reason instanceof TrainingError && reason.code === 'train.memory', String(reason))
  assert.match(reason.message, /memory ran out before the first step .* this process holds .*; try \.tokenBudget\(512\)\.recompute\(\)/)
  assert.match((inFlags(reason) as Error).message, /try --per_device_train_batch_tokens 512 --recompute true/)
  await run.close()
  // What it says to try gives the run, from the same process.
  const again = await builder.tokenBudget(512).recompute().overwrite().start()
  assert.equal((await again.done).steps, 2)
  await again.close()
})

test('once a step as long has been seen, steps take at most 50 page faults', { skip: process.platform !== 'linux' && 'counts faults as Linux does' }, async (t) => {
  const folder = temporaryFolder(t), model = shapedModel(path.join(folder, 'model'), shapes.llama), data = shapedData(path.join(folder, 'data'), 96, 20, 400)
  const run = await sft(model).data(data, { maxLength: 1024 }).lora().batch(2).steps(40).device('cpu').threads(2).save({ each: 'never' }).output(path.join(folder, 'out')).start()
  const steps: { tokens: number; faults: number }[] = []
  for await (const event of run) if (event.type === 'step') steps.push(event)
  await run.close()
  assert.equal(steps.length, 40)
  const seen = steps.filter(({ tokens }, i) => i >= 3 && steps.slice(0, i).some((before) => before.tokens >= tokens))
  assert.ok(seen.length > 20, `${seen.length} steps`)
  const more = seen.filter(({ faults }) => faults > 50)
  t.diagnostic(seen.map(({ tokens, faults }) => `${tokens}:${faults}`).join(' '))
  // A collection of the whole heap may come once.
  assert.ok(more.length <= 1, more.map(({ tokens, faults }) => `${tokens}:${faults}`).join(' '))
})
