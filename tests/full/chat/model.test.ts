import * as assert from 'node:assert/strict'
import { test } from 'node:test'
import { chat, chatHook, PlanError, WorkerError, type Chat, type ChatState } from 'fettle'
import { chatModel, chatting, temporaryFolder, workers } from '../../support/chat'
import { refusalOf } from '../../support/refusal'

test('a model answers: pieces make the answer, state and listeners follow, the worker goes with the chat', async (t) => {
  const c = await chatting(t, chatModel(temporaryFolder(t)))
  assert.deepEqual([c.sides, c.state.status, c.state.turns.length, c.state.sides[0].label], [['base'], 'ready', 0, 'model'])
  const pieces: string[] = [], states: ChatState[] = []
  const stop = c.onChange((state) => states.push(state))
  const answer = await c.ask('Hello', { onToken: (text, side) => { assert.equal(side, 'base'); pieces.push(text) } })
  assert.equal(pieces.join(''), answer.base)
  assert.ok(answer.base!.length > 0 && answer.tokensPerSecond.base! > 0)
  assert.deepEqual([answer.question, answer.tuned, answer.cancelled], ['Hello', null, false])
  assert.deepEqual(states.map(({ status }) => status).filter((status, i, all) => status !== all[i - 1]), ['answering', 'ready'])
  assert.equal(states[0].turns[0].text, 'Hello')
  const { turns } = c.state
  assert.deepEqual([turns[0].answers[0].text, turns[0].answers[0].done], [answer.base, true])
  assert.deepEqual(JSON.parse(JSON.stringify(c.state)), c.state)
  stop()
  const told = states.length, streamed: string[] = []
  await c.clear()
  for await (const { text } of c.stream('Hello')) streamed.push(text)
  assert.deepEqual([streamed.join(''), states.length, c.state.turns.length], [answer.base, told, 1])
  assert.equal(workers().length, 1)
  await c.close()
  await c.close()
  assert.deepEqual([c.state.status, workers().length], ['closed', 0])
  await refusalOf(c.ask('again'), 'chat.closed')
})

test('cancel ends an answer with what it has; a second question at once is refused; a loop that is left cancels', async (t) => {
  const c = await chatting(t, chatModel(temporaryFolder(t)), { maxNewTokens: 5000, minNewTokens: 5000 })
  let seen = ''
  const asking = c.ask('Hi', { onToken: (text) => { seen += text; if (seen.length > 3) void c.cancel() } })
  await refusalOf(c.ask('again'), 'chat.busy', 'cancel()')
  const answer = await asking
  assert.ok(answer.cancelled)
  assert.equal(answer.base, seen)
  assert.deepEqual(answer.notes, ['ended early'])
  assert.equal(c.state.status, 'ready')
  for await (const { text } of c.stream('Hi')) if (text !== '') break
  assert.equal(c.state.status, 'ready')
  await c.cancel() // nothing runs
  await refusalOf(c.ask(' '), 'plan.value')
})

test('what finds no room in the context goes, oldest first, and is told', async (t) => {
  const c = await chatting(t, chatModel(temporaryFolder(t)), { maxNewTokens: 6, minNewTokens: 6 })
  const long = 'x'.repeat(40), notes: string[] = []
  for (let i = 0; i < 6; i++) notes.push(...(await c.ask(`${i}${long}`)).notes)
  assert.ok(notes.some((note) => /oldest turns? found no room/.test(note)), notes.join('\n'))
  assert.ok(!notes.some((note) => note.includes('lost its beginning')), notes.join('\n'))
  const cut = await c.ask('y'.repeat(5000))
  assert.ok(cut.notes.some((note) => note.includes('lost its beginning')), cut.notes.join('\n'))
  assert.ok(cut.base !== null)
})

test('a killed worker closes the chat with its typed error, also while it answers', async (t) => {
  const folder = temporaryFolder(t), model = chatModel(folder)
  const c = await chatting(t, model, { maxNewTokens: 5000, minNewTokens: 5000 })
  const states: ChatState[] = []
  c.onChange((state) => states.push(state))
  let kill = (): void => { kill = () => undefined; process.kill(workers()[0], 'SIGKILL') }
  const asking = c.ask('Hi', { onToken: () => kill() })
  const error = await refusalOf(asking, 'chat.worker', 'was killed by SIGKILL')
  assert.ok(error instanceof WorkerError)
  assert.deepEqual([c.state.status, c.state.error, c.error], ['closed', error.message, error])
  assert.equal(states.at(-1)!.status, 'closed')
  assert.equal(await c.ask('Hi').catch((again: unknown) => again), error)
  const idle = await chatting(t, model)
  // An idle chat does not keep a process alive, and nothing else does here.
  const awake = setInterval(() => undefined, 1000)
  t.after(() => clearInterval(awake))
  const closed = new Promise<ChatState>((resolve) => { idle.onChange((state) => { if (state.status === 'closed') resolve(state) }) })
  process.kill(workers()[0], 'SIGKILL')
  assert.match((await closed).error!, /killed by SIGKILL/)
})

test('what cannot be a chat is refused', async (t) => {
  const folder = temporaryFolder(t), model = chatModel(folder)
  await refusalOf(chat(5 as never), 'plan.value', 'chat(run)')
  await refusalOf(chat(model, { sides: ['tuned'] }), 'chat.sides')
  await refusalOf(chat(model, { sides: ['both' as never] }), 'plan.value')
  await refusalOf(chat(model, { topK: -1 }), 'plan.value', 'topK')
  await refusalOf(chat(model, { maxTokens: 3 } as never), 'plan.unknown', 'maxNewTokens')
  await refusalOf(chat(model, { maxNewTokens: 3, minNewTokens: 4 }), 'plan.conflict')
  await assert.rejects(chat(`${folder}/nothing`), (error) => !(error instanceof PlanError) && /nothing/.test((error as Error).message))
  assert.equal(workers().length, 0)
})

test('a notebook kernel gets each chat at once, and its transcript is safe', async (t) => {
  const hooks = globalThis as unknown as Record<symbol, unknown>
  const seen: { chat: Chat; status: string }[] = []
  hooks[chatHook] = (c: Chat) => seen.push({ chat: c, status: c.state.status })
  t.after(() => { delete hooks[chatHook] })
  const c = await chatting(t, chatModel(temporaryFolder(t)))
  assert.deepEqual(seen, [{ chat: c, status: 'loading' }])
  await c.ask('<script>alert(1)</script></td>')
  const view = (c as unknown as Record<symbol, () => Record<string, string>>)[Symbol.for('Jupyter.display')]()
  assert.ok(!view['text/html'].includes('<script>') && view['text/html'].includes('&lt;script&gt;'))
  assert.ok(view['text/plain'].includes('> <script>alert(1)</script></td>'))
  for (let i = 0; i < 3; i++) await c.ask('z'.repeat(300_000))
  assert.ok(JSON.stringify(c.state).length < 20_000)
  assert.deepEqual([c.state.turns.length, c.state.more], [2, 2])
  assert.ok(c.state.turns[1].text.length === 6000 && c.state.turns[1].text.endsWith('…'))
})
