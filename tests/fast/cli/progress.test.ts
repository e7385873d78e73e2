import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RunEvent } from 'fettle'
import { ProgressLines } from 'fettle/dist/cli/progress'
import { errorBlock, type Terminal } from 'fettle/dist/cli/terminal'

const step = (n: number, total = 10): RunEvent =>
  ({ type: 'step', time: 1000 * n, step: n, totalSteps: total, epoch: 0, loss: 1.23456, learningRate: 3e-4, gradNorm: 1, tokens: 1, supervised: 1, ms: 900, tokensPerSecond: 1234.5, memory: 1, faults: 0, utilisation: 0.9 })

function screen(live: boolean, columns = 80): { terminal: Terminal; text: () => string } {
  let text = ''
  return { terminal: { out: () => {}, err: (piece) => { text += piece }, live, columns, debug: false }, text: () => text }
}

test('on a terminal one bar is drawn over, with rate and time left, and fits', () => {
  const { terminal, text } = screen(true)
  const lines = new ProgressLines(terminal, 5)
  for (let n = 1; n <= 4; n++) lines.event(step(n))
  const drawn = text().split('\r').slice(1)
  assert.equal(drawn.length, 4)
  assert.equal(drawn[3], '[###-----] 40.0% step 4/10 loss 1.235 1,235 tokens/s 6s left')
  assert.ok(drawn.every((line) => line.length < 80))
  lines.event({ type: 'warning', time: 0, code: 'x', message: 'beware' })
  assert.match(text(), /\r +\rwarning: beware\n$/)
})

test('what another front commands is told, and a pause is no part of the pace', () => {
  const { terminal, text } = screen(false)
  const lines = new ProgressLines(terminal, 1)
  const command = (name: string, learningRate?: number): RunEvent => ({ type: 'command', time: 0, command: name, atStep: 2, learningRate })
  lines.event(step(1))
  lines.event(step(2))
  for (const event of [command('pause'), command('save'), command('set', 1e-5), command('resume')]) lines.event(event)
  lines.event({ ...step(3), time: 1_000_000 } as RunEvent)
  assert.deepEqual(text().trimEnd().split('\n').slice(2, 5), ['paused after step 2', 'learning rate 0.00001 from step 3 on, under the same schedule', 'goes on after step 2'])
  assert.match(text(), /step 3\/10 .* 6s left\n$/)
})

test('a long run fits 80 columns', () => {
  const { terminal, text } = screen(true)
  new ProgressLines(terminal, 1).event(step(99_999, 100_000))
  assert.match(text(), /left$/)
})

test('elsewhere each logged step is a plain line', () => {
  const { terminal, text } = screen(false)
  const lines = new ProgressLines(terminal, 5)
  for (let n = 1; n <= 10; n++) lines.event(step(n))
  assert.deepEqual(text().trimEnd().split('\n').map((line) => line.split(' ')[1]), ['1/10', '5/10', '10/10'])
  assert.match(text(), / lr 0\.0003 {2}1,235 tokens\/s {2}5s left\n/)
})

test('a download is one line a stage when piped', () => {
  const { terminal, text } = screen(false)
  const lines = new ProgressLines(terminal, 5)
  for (const done of [1, 2, 3]) lines.progress({ stage: `m: ${done}.0 MB of 3.0 MB`, done, total: 3 })
  lines.progress({ stage: 'preparing train', done: 1, total: null })
  assert.equal(text(), 'm: 1.0 MB of 3.0 MB\npreparing train\n')
})

test("a model's answer cannot steer the terminal", () => {
  const { terminal, text } = screen(false)
  new ProgressLines(terminal, 1).event({ type: 'sample', time: 0, atStep: 1, samples: [{ prompt: 'a', answer: '\u001b[2Jboo\u0007', reference: null }] })
  assert.doesNotMatch(text(), /[\u001b\u0007]/)
})

test('a fault of Fettle says so', () => {
  assert.match(errorBlock(new TypeError('x is not a function'), false), /^error: x is not a function\n {2}this is a fault of Fettle; .*\n {2}\(internal\)\n$/)
})

test('without bars a terminal gets lines', () => {
  const { terminal, text } = screen(true)
  const lines = new ProgressLines(terminal, 2, false)
  lines.progress({ stage: 'model', done: 1, total: 2 })
  for (let n = 1; n <= 4; n++) lines.event(step(n))
  assert.doesNotMatch(text(), /\r|model|#/)
  assert.deepEqual(text().trimEnd().split('\n').map((line) => line.slice(0, 9)), ['step 1/10', 'step 2/10', 'step 4/10'])
})
