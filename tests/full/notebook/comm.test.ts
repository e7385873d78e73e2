import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import type { FromPage, ToPage } from 'fettle-kernel/dist/session/lab-protocol'
import { boardMime, chatMime } from 'fettle/dist/views'
import { TestKernel, textOf } from '../../support/notebook'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

/** The comm of a page, opened by a client without one. */
function openComm({ client: { kernel } }: TestKernel) {
  const heard: { readonly message: ToPage; readonly at: number; readonly bytes: number }[] = []
  const comm = kernel.createComm('fettle', 'fettle-lab')
  comm.onMsg = ({ content }) => { heard.push({ message: content.data as unknown as ToPage, at: Date.now(), bytes: JSON.stringify(content).length }) }
  comm.open({})
  const until = async <T extends ToPage['type']>(type: T, fits: (message: Extract<ToPage, { type: T }>) => boolean = () => true, ms = 60_000) => {
    for (const end = Date.now() + ms; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const found = heard.map(({ message }) => message).find((message) => message.type === type && fits(message as never))
      if (found) return found as Extract<ToPage, { type: T }>
    }
    throw new Error(`no ${type} within ${ms} ms; heard ${JSON.stringify(heard.slice(-2)).slice(0, 600)}`)
  }
  const send = (message: FromPage) => { comm.send(message as never) }
  const ask = async (id: string, run: string, command: Extract<FromPage, { type: 'command' }>['command']) => {
    send({ type: 'command', id, run, command })
    const reply = await until('reply', (message) => message.id === id)
    return 'error' in reply ? `refused: ${reply.error}` : reply.text
  }
  return { heard, until, send, ask }
}

test('a page steers a run through the comm while its cell waits, and chats with it when the cell is over', async (t) => {
  const folder = temporaryFolder(t)
  const kernel = await TestKernel.start(folder)
  t.after(() => kernel.close())
  const page = openComm(kernel)
  await page.until('live')
  const cell = kernel.send(`import { sft, chat, show, attach } from 'fettle'
const run = await sft(${JSON.stringify(tinyModel(path.join(folder, 'model')))}).data(${JSON.stringify(tinyData(path.join(folder, 'data'), 64))}).lora({ rank: 2 }).steps(100000).batch(2).threads(1).output(${JSON.stringify(path.join(folder, 'out'))}).start()
const result = await run.done`)
  const { run } = await page.until('board', ({ state }) => state.status === 'training' && state.step > 0)
  assert.equal(await page.ask('a', run, { name: 'set', learningRate: 5e-6 }), 'learning rate 5e-6 from the next step on')
  assert.equal(kernel.client.kernel.status, 'busy', 'a comm message does not make a kernel idle whose cell runs')
  await page.until('board', ({ state }) => state.commands.some((text) => /5e-6/.test(text)))
  assert.equal(await page.ask('b', run, { name: 'pause' }), 'paused')
  await page.until('board', ({ state }) => state.status === 'paused' && state.controls.includes('resume'))
  assert.match(await page.ask('c', run, { name: 'set', learningRate: -1 }), /^refused: expected .*-1/)
  assert.match(await page.ask('d', run, { name: 'save' }), /^saved checkpoint-\d+$/)
  assert.equal(await page.ask('e', run, { name: 'resume' }), 'training again')
  const from = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 4_000))
  const pushed = page.heard.filter(({ at }) => at > from).reduce((sum, { bytes }) => sum + bytes, 0)
  assert.ok(pushed / (Date.now() - from) < 50, `${pushed} bytes in 4 s`)
  assert.equal(await page.ask('f', run, { name: 'stop' }), 'stopped, with a checkpoint')
  const answer = await cell.answer
  assert.equal(answer.content.status, 'ok')
  const outputs = answer.heard.filter(({ type }) => /display_data$/.test(type))
  assert.equal(outputs.at(-1)!.content.data[boardMime].state.status, 'stopped')
  // The extension draws; the output changes only now and then, and at the end.
  assert.ok(outputs.length <= 4, `${outputs.length} outputs`)

  // A handle that attaches to the same folder is the same board, under one more cell.
  const again = await kernel.run('const same = await attach(run.dir)\nshow(same)')
  assert.equal(again.heard.find(({ type }) => type === 'display_data')?.content.data[boardMime].state.run, run)

  const talk = await kernel.run('const box = await chat(run, { maxNewTokens: 8 })')
  const shown = talk.heard.find(({ type }) => type === 'display_data')?.content.data[chatMime]
  assert.ok(shown.chat, JSON.stringify(talk.content))
  page.send({ type: 'ask', chat: shown.chat, text: 'n 1: ab' })
  const { state } = await page.until('chat', ({ state }) => state.status === 'ready' && state.turns.length === 1 && state.turns[0].answers.every(({ done }) => done))
  assert.deepEqual(state.sides.map(({ side }) => side).sort(), ['base', 'tuned'])
  page.send({ type: 'clear', chat: shown.chat })
  await page.until('chat', ({ state }) => state.status === 'ready' && state.turns.length === 0 && page.heard.some(({ message }) => message.type === 'chat' && message.state.turns.length === 1))
  assert.equal(textOf(await kernel.run('box.state.turns.length')), '0\n')
})
