import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChatState, RunEvent } from 'fettle'
import { WorkerError } from 'fettle/dist/errors'
import { boardMime } from 'fettle/dist/views'
import { Cell } from 'fettle-kernel/dist/session/cell'
import { Comms } from 'fettle-kernel/dist/session/comms'
import { Live } from 'fettle-kernel/dist/session/live'
import { Pace } from 'fettle-kernel/dist/session/pace'
import type { Message } from 'fettle-kernel/dist/session/wire'

type Published = { readonly type: string; readonly content: any; readonly bytes: number }

/** A kernel without sockets: what it would publish, and comm messages to it. */
function kernel() {
  const said: Published[] = []
  const publish = (type: string, content: unknown) => {
    const bytes = JSON.stringify(content).length
    said.push({ type, content, bytes })
    return bytes
  }
  const live = new Live(publish)
  const message = (type: string, content: object, metadata = {}): Message => ({ identity: [], header: { msg_id: 'm', msg_type: type, session: '', username: '', date: '', version: '5.3' }, metadata, content: content as Record<string, unknown> })
  return {
    live, said,
    cell: (id: string, count: number) => new Cell({ publish: (type: string, content: unknown) => publish(type, content) } as never, message('execute_request', {}, { cellId: id }), count),
    open: () => live.comm(message('comm_open', { comm_id: 'c', target_name: 'fettle', data: {} })),
    tell: (data: object) => live.comm(message('comm_msg', { comm_id: 'c', data })),
    pushes: () => said.filter(({ type }) => type === 'comm_msg').map(({ content }) => content.data),
    outputs: () => said.filter(({ type }) => /display_data/.test(type)),
  }
}

const started: RunEvent = { type: 'started', time: 1, pid: 1, model: 'm', parameters: 10, trainable: 10, totalSteps: 1000, epochs: 1, startStep: 0, device: 'cpu', blocks: 'plain', threads: 1 }
const stepEvent = (step: number): RunEvent => ({ type: 'step', time: 1 + step, step, totalSteps: 1000, epoch: step / 1000, loss: 1 + 1 / step, learningRate: 1e-3, gradNorm: 1.2345, tokens: 100, supervised: 10, ms: 100, tokensPerSecond: 1000 + step, memory: 100, faults: 0, utilisation: 0.5 })

/** A run that is moved by hand. */
function handRun() {
  const events: RunEvent[] = [started]
  let end = () => {}
  const done = new Promise<void>((resolve) => { end = resolve })
  return {
    events, id: 'r', done, asked: [] as number[],
    end() { events.push({ type: 'done', time: 9_999, atStep: 1, stopped: true, output: 'o', ms: 1 }); end() },
    async set({ learningRate }: { learningRate: number }) { this.asked.push(learningRate) },
    async save(): Promise<string> { throw new RangeError('no room; free some') },
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('what is sent waits for what it costs', () => {
  let now = 0
  const pace = new Pace(1_000, () => now)
  assert.ok(pace.due)
  pace.spent(3_000, 500)
  now = 2_999
  assert.ok(!pace.due)
  now = 3_000
  assert.ok(pace.due)
  pace.spent(1, 500)
  now = 3_499
  assert.ok(!pace.due)
  pace.now()
  assert.ok(pace.due)
})

test('a page gets states, its commands reach the run, and refusals come back in words', async () => {
  const { live, cell, open, tell, pushes, outputs } = kernel()
  const run = handRun()
  open()
  assert.deepEqual(pushes(), [{ type: 'live', boards: [], chats: [] }])
  live.show(run, cell('a', 1))
  assert.doesNotMatch(outputs()[0].content.data['text/html'], /window\.fettleLibrary/, 'the extension brings its own')
  run.events.push(stepEvent(1))
  await pause(700)
  const board = pushes().filter(({ type }) => type === 'board').at(-1)
  assert.deepEqual([board.run, board.state.step, [...board.state.controls].sort()], ['r', 1, ['save', 'set']])
  tell({ type: 'command', id: 'x', run: 'r', command: { name: 'set', learningRate: 0.25 } })
  tell({ type: 'command', id: 'y', run: 'r', command: { name: 'save' } })
  tell({ type: 'command', id: 'z', run: 'other', command: { name: 'save' } })
  await pause(50)
  const replies = Object.fromEntries(pushes().filter(({ type }) => type === 'reply').map(({ id, text, error }) => [id, text ?? error]))
  assert.deepEqual(run.asked, [0.25])
  assert.match(replies.x, /learning rate 0\.25/)
  assert.equal(replies.y, 'no room; free some')
  assert.match(replies.z, /does not know the run/)
  run.end()
  await run.done
  await Promise.resolve()
  // The end is shown before whoever awaits the run goes on, and once.
  const last = outputs().at(-1)!
  assert.deepEqual([last.type, last.content.data[boardMime].state.status], ['update_display_data', 'stopped'])
  assert.match(last.content.data['text/html'], /window\.fettleLibrary/)
  tell({ type: 'keep', of: 'r' })
  assert.equal(pushes().at(-1).data[boardMime].state.status, 'stopped')
  await live.close()
})

test('what a page has no word for reaches nothing', async () => {
  const { live, cell, open, tell, pushes } = kernel()
  const called: string[] = []
  const run = Object.assign(handRun(), { async kill() { called.push('kill') }, async close() { called.push('close') } })
  open()
  live.show(run, cell('h', 1))
  const commands = [{ name: 'kill' }, { name: 'close' }, { name: 'constructor' }, { name: '__proto__' }, { name: 'set', learningRate: '1' }, 'save', null, undefined, { name: ['save'] }]
  commands.forEach((command, i) => tell({ type: 'command', id: `h${i}`, run: 'r', command }))
  for (const nonsense of [null, 7, 'x', [], {}, { type: 'ask', chat: 'c', text: 3 }, { type: 'keep', of: {} }, { type: 'toString' }, { type: 'command', id: 1, run: 'r', command: { name: 'save' } }]) tell(nonsense as object)
  await pause(50)
  const replies = pushes().filter(({ type }) => type === 'reply')
  assert.deepEqual(replies.map(({ id }) => id), commands.map((_, i) => `h${i}`))
  for (const { error } of replies) assert.match(error, /^expected one of stop, pause/)
  assert.deepEqual([called, run.asked], [[], []])
  await live.close()
})

test('without a page that listens the outputs follow by themselves, below 50 KB/s', async () => {
  const { live, cell, outputs } = kernel()
  const run = handRun()
  for (let i = 1; i <= 1000; i++) run.events.push(stepEvent(i))
  live.show(run, cell('b', 1))
  const start = Date.now()
  let n = 1000
  const timer = setInterval(() => run.events.push(stepEvent(++n)), 20)
  await pause(3_000)
  clearInterval(timer)
  const updates = outputs().slice(1)
  assert.ok(updates.length >= 2, `${updates.length} updates`)
  const bytes = updates.slice(0, -1).reduce((sum, { bytes }) => sum + bytes, 0)
  assert.ok(bytes / (Date.now() - start) < 50, `${bytes} bytes`)
  run.end()
  await live.close()
})

test('a cell that is run again takes its boards with it', async () => {
  const { live, cell, open, pushes } = kernel()
  const run = handRun()
  live.show(run, cell('c', 1))
  open()
  assert.equal(pushes().at(-1).boards[0].cell, 'c')
  live.enter(cell('c', 2))
  open()
  assert.equal(pushes().at(-1).boards[0].cell, null, 'it still runs')
  run.end()
  await run.done
  live.enter(cell('d', 3))
  open()
  assert.deepEqual(pushes().at(-1).boards, [])
  await live.close()
})

test('a cell that makes its chat anew closes the one before; one that is kept goes on', async () => {
  const { live, cell, open, pushes } = kernel()
  const closed: string[] = []
  const box = (id: string) => ({
    state: { version: 1, chat: id, title: id, sides: [], turns: [], status: 'ready', error: null } as ChatState,
    onChange() {}, ask() {}, cancel() {}, clear() {}, async close() { closed.push(id) },
  })
  const kept = box('kept')
  live.chat(box('first'), cell('g', 1))
  live.chat(kept, cell('k', 2))
  live.enter(cell('k', 3))
  const again = cell('g', 4)
  live.enter(again)
  assert.deepEqual(closed, [], 'the cell may show it again')
  live.chat(box('second'), again)
  live.chat(box('third'), again)
  open()
  assert.deepEqual([closed, pushes().at(-1).chats.map(({ chat }: { chat: string }) => chat)], [['first'], ['kept', 'second', 'third']])
  await live.close()
})

test('the board of a handle that was closed has no buttons, and does not call its run crashed', async () => {
  const { live, cell, outputs } = kernel()
  const boards = () => outputs().at(-1)!.content.data[boardMime].state
  for (const [id, code, status] of [['x', 'run.closed', 'training'], ['y', 'worker.vanished', 'crashed']]) {
    const done = Promise.reject(new WorkerError(code, 'words'))
    live.show({ ...handRun(), id, done, async stop() {} }, cell(id, 1))
    await done.catch(() => undefined)
    await Promise.resolve()
    assert.deepEqual([boards().run, boards().status, boards().controls], [id, status, []])
  }
  await live.close()
})

test('a run that stands under its cell is not shown again as its value', async () => {
  const { live, cell, outputs, said } = kernel()
  const run = handRun()
  const under = cell('e', 1)
  live.show(run, under)
  under.result(run)
  assert.deepEqual([outputs().length, said.some(({ type }) => type === 'execute_result')], [1, false])
  cell('f', 2).result(run)
  assert.ok(boardMime in said.at(-1)!.content.data)
  run.end()
  await live.close()
})

test('a page that answers no more is taken for closed', (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const comms = new Comms(() => 1, () => {})
  const message = (type: string, content: object) => ({ identity: [], header: { msg_type: type }, metadata: {}, content }) as unknown as Message
  comms.handle(message('comm_open', { comm_id: 'a', target_name: 'fettle' }))
  t.mock.timers.tick(3_600_000)
  assert.ok(comms.listening, 'nothing was asked of it')
  comms.send({ type: 'reply', id: '', text: '' })
  t.mock.timers.tick(90_000)
  assert.ok(comms.listening)
  t.mock.timers.tick(20_000)
  assert.ok(!comms.listening)
  comms.handle(message('comm_msg', { comm_id: 'a', data: { type: 'alive' } }))
  assert.ok(comms.listening)
  comms.handle(message('comm_close', { comm_id: 'a' }))
  assert.ok(!comms.listening)
})
