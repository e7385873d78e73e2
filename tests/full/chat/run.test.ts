import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { partyOf } from 'fettle/dist/chat/target'
import { test } from 'node:test'
import { attach, chat, WorkerError, type ChatState } from 'fettle'
import { chatModel, chatRun, chatting, finished, rendered, temporaryFolder, workers } from '../../support/chat'
import { refusalOf } from '../../support/refusal'

const most = { maxNewTokens: 12 }

test('an adapter run answers on both sides from one worker, each with a history of its own', async (t) => {
  const folder = temporaryFolder(t), run = await finished(t, await chatRun(folder, 8).lora({ rank: 4 }).start())
  const c = await chatting(t, run), model = await chatting(t, path.join(folder, 'model'))
  assert.deepEqual([c.sides, workers().length], [['base', 'tuned'], 2])
  const streamed = { base: '', tuned: '' }
  const first = await c.ask('n 1', { onToken: (text, side) => { streamed[side] += text } })
  assert.deepEqual(streamed, { base: first.base, tuned: first.tuned })
  assert.notEqual(first.base, first.tuned)
  assert.equal(first.base, (await model.ask('n 1')).base)
  assert.equal(first.tuned, await run.generate('n 1', most))
  const second = await c.ask('n 2')
  assert.equal(second.base, (await model.ask('n 2')).base)
  assert.equal(second.tuned, await run.generate(rendered('n 1', first.tuned!, 'n 2'), { ...most, chat: false }))
  assert.deepEqual(c.state.turns.map(({ answers }) => answers.map(({ side, text }) => [side, text])),
    [first, second].map(({ base, tuned }) => [['base', base], ['tuned', tuned]]))
  await c.clear()
  const again = await c.ask('n 1')
  assert.deepEqual([again.base, again.tuned], [first.base, first.tuned])
  const only = await chatting(t, run, { sides: ['tuned'] })
  assert.equal((await only.ask('n 1')).base, null)
  await refusalOf(chat(run, { template: 'none' }), 'plan.conflict', 'template')
  await c.close()
  assert.ok(run.alive)
  assert.ok(!run.events.some((event) => event.type === 'command' && event.command === 'chat'))
  const bare = await run.generate('n 1', { ...most, chat: false })
  // Its folder says the same, from a worker of its own that puts the adapter on.
  await run.close()
  const saved = await chatting(t, run.dir)
  const told = await saved.ask('n 1')
  assert.deepEqual([told.base, told.tuned], [first.base, first.tuned])
  const plain = await chatting(t, run.dir, { template: 'none', sides: ['tuned'] })
  // Without a template each text is continued as it stands, whatever was said before.
  assert.deepEqual([(await plain.ask('n 1')).tuned, (await plain.ask('n 1')).tuned], [bare, bare])
  const ended = await chatting(t, run)
  assert.equal((await ended.ask('n 1')).tuned, first.tuned)
})

test('while it trains, between two steps; cancel works there too; a system message comes first', async (t) => {
  const folder = temporaryFolder(t)
  const run = await chatRun(folder, 100_000).learningRate(0.001).lora({ rank: 4 }).start()
  t.after(async () => { run.kill(); await run.close() })
  await refusalOf(chat(run, { base: 'x', sides: ['base', 'none' as never] }), 'plan.value', 'sides')
  // The same run, found in its folder: over its socket. Paused it stands still, so that both say the same.
  await new Promise<void>((resolve) => { void (async () => { for await (const event of run) if (event.type === 'step') return resolve() })() })
  await run.pause()
  const attached = await attach(run.dir)
  t.after(() => attached.close())
  const here = await (await chatting(t, run)).ask('n 1'), there = await (await chatting(t, attached)).ask('n 1')
  assert.deepEqual([there.base, there.tuned], [here.base, here.tuned])
  assert.equal(workers().length, 1)
  await run.resume()
  const c = await chatting(t, run, { system: 'S', maxNewTokens: 200, minNewTokens: 200 })
  const asking = c.ask('n 1', { onToken: (text) => { if (text !== '') void c.cancel() } })
  const answer = await asking
  assert.ok(answer.cancelled && answer.base === null && answer.tuned !== null)
  assert.equal(run.state, 'training')
  process.kill(run.pid, 'SIGKILL')
  const error = await run.done.catch((reason: unknown) => reason)
  assert.ok(error instanceof WorkerError)
  assert.equal(await c.ask('n 1').catch((told: unknown) => told), error)
  assert.deepEqual([c.state.status, c.state.error], ['closed', error.message])
})

test('a stop cuts an answer short, which says so, and the run answers on', async (t) => {
  const run = await chatRun(temporaryFolder(t), 100_000).learningRate(0.001).lora({ rank: 4 }).start()
  t.after(async () => { run.kill(); await run.close() })
  const c = await chatting(t, run, { sides: ['tuned'], maxNewTokens: 240, minNewTokens: 240 })
  let stopped: Promise<unknown> | null = null
  const answer = await c.ask('n 1', { onToken: () => { stopped ??= run.stop() } })
  assert.deepEqual([answer.cancelled, typeof answer.tuned, c.state.status], [false, 'string', 'ready'])
  assert.match(answer.notes.join(), /the run was stopped, which ended the answer/)
  await stopped
  const after = await c.ask('n 2', { onToken: () => { void c.cancel() } })
  assert.ok(after.cancelled)
})

test('of a run that trains all weights a second worker, from the first question on, is the base', async (t) => {
  const folder = temporaryFolder(t), run = await finished(t, await chatRun(folder, 4).start())
  const c = await chatting(t, run), model = await chatting(t, path.join(folder, 'model'))
  assert.equal(workers().length, 2)
  const first = await c.ask('n 1')
  assert.equal(workers().length, 3)
  assert.equal(first.base, (await model.ask('n 1')).base)
  assert.equal(first.tuned, await run.generate('n 1', most))
  assert.notEqual(first.base, first.tuned)
  await c.close()
  assert.equal(workers().length, 2)
  const saved = await chatting(t, run.dir)
  assert.deepEqual(saved.sides, ['tuned'])
  assert.equal((await saved.ask('n 1')).tuned, first.tuned)
  await refusalOf(chat(run.dir, { sides: ['base'] }), 'chat.sides', 'base: ')
  const both = await chatting(t, run.dir, { base: path.join(folder, 'model') })
  const { base, tuned } = await both.ask('n 1')
  assert.deepEqual([base, tuned], [first.base, first.tuned])
})

test('the folder of a run that saved checkpoints is asked as the run is: its template, its system message, its base', async (t) => {
  const folder = temporaryFolder(t), planned = chatRun(folder, 4).save({ every: 4 }).data(path.join(folder, 'data'), { maxLength: 64, template: 'none' })
  const run = await finished(t, await planned.start()), live = await (await chatting(t, run)).ask('n 1')
  await run.close()
  for (const target of [run.dir, path.join(run.dir, 'checkpoint-4')]) {
    const saved = await chatting(t, target)
    assert.deepEqual(saved.sides, ['base', 'tuned'])
    const { base, tuned } = await saved.ask('n 1')
    assert.deepEqual([base, tuned], [live.base, live.tuned])
    await saved.close()
  }
  // Whatever else is called so is no plan.
  fs.writeFileSync(path.join(run.dir, 'checkpoint-4', 'plan.json'), '{"version": 1, "model": 7}')
  assert.deepEqual((await chatting(t, run.dir)).sides, ['tuned'])
})

test('where the base cannot be read the tuned side answers alone, and says why', async (t) => {
  const folder = temporaryFolder(t), run = await finished(t, await chatRun(folder, 2).start())
  const c = await chatting(t, run)
  fs.rmSync(path.join(folder, 'model', 'model.safetensors'))
  const answer = await c.ask('n 1')
  assert.deepEqual([answer.base, typeof answer.tuned, c.sides, c.state.status], [null, 'string', ['tuned'], 'ready'])
  assert.match(answer.notes.join(), /base: model cannot answer: /)
  assert.equal(c.state.error, c.error!.message)
  const states: ChatState[] = []
  c.onChange((state) => states.push(state))
  assert.equal((await c.ask('n 2')).notes.filter((note) => note.includes('cannot answer')).length, 0)
  assert.equal(states.at(-1)!.error, null)
})

test('an adapter folder that does not name its model, and a run that saved nothing', async (t) => {
  const folder = temporaryFolder(t), adapter = path.join(folder, 'adapter'), empty = path.join(folder, 'empty')
  chatModel(folder)
  for (const made of [adapter, empty]) fs.mkdirSync(made)
  fs.writeFileSync(path.join(adapter, 'adapter_config.json'), '{"peft_type": "LORA"}')
  await refusalOf(chat(adapter), 'chat.base', "{ base: 'MODEL' }")
  // What the refusal says to do is taken.
  assert.equal(partyOf(adapter, { base: 'model' }).title, 'model with adapter')
  fs.writeFileSync(path.join(empty, 'metrics.jsonl'), '')
  await refusalOf(chat(empty), 'chat.folder', 'chat(run)')
})
