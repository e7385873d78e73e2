import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RunEvent } from 'fettle'
import { boardData, BoardReader } from 'fettle/dist/views/board-data'
import { samplesOf, spread } from 'fettle/dist/views/board-samples'
import { sentence } from 'fettle/dist/views/figures'
import { digits, rateText, start } from 'fettle/dist/views/format'
import { plotsOf } from 'fettle/dist/views/plots'
import { hostileStory, story, storyStart } from '../../support/story'

const at = (seconds: number) => storyStart + seconds * 1000
const failed: RunEvent = { type: 'failed', time: at(99), error: { name: 'WorkerError', code: 'worker.killed', message: 'out of memory; try .batch({ size: 4 })' } }

test('a run on its way knows its pace and what is left', () => {
  const { state } = boardData(story(300, 100), { run: 'r', dir: 'out', method: 'LoRA rank 8' })
  assert.deepEqual([state.status, state.step, state.totalSteps, state.epoch, state.left, state.elapsed], ['training', 100, 300, 0.33333, 140_000, 70_000])
  assert.deepEqual([state.run, state.dir, state.title, state.about], ['r', 'out', 'builtin:smollm2-135m', 'LoRA rank 8, 4.88M of 139M parameters train, cpu'])
  assert.equal(sentence(state), `Training, step 100 of 300, loss ${digits(state.loss!, 4)}, 2m 20s left`)
  assert.equal(boardData(story(300, 100), { now: at(200) }).state.elapsed, 199_000)
})

test('a pause counts as time gone, but not for the pace', () => {
  const shift = 3_600_000
  const events = story(300, 100).map((event) => (event.time > at(60) ? { ...event, time: event.time + shift } : event))
  const i = events.findIndex(({ time }) => time > at(60))
  const command = (name: string, time: number): RunEvent => ({ type: 'command', time, command: name, atStep: 84 })
  const pause = command('pause', at(60))
  assert.equal(boardData([...events.slice(0, i), pause]).state.status, 'paused')
  const { state } = boardData([...events.slice(0, i), pause, command('resume', at(60) + shift), ...events.slice(i)])
  assert.deepEqual([state.status, state.elapsed], ['training', 70_000 + shift])
  assert.ok(Math.abs(state.left! - 140_000) < 1_000, `${state.left}`)
  assert.deepEqual(state.commands, ['pause (step 84)', 'resume (step 84)'])
})

test('each status, from the events or from who watches', () => {
  const part = story(300, 20)
  const status = (events: readonly RunEvent[], options = {}) => boardData(events, options).state.status
  const crashed = { name: 'WorkerError', code: 'worker.vanished', message: 'gone' }
  assert.equal(status([]), 'preparing')
  assert.equal(status(part), 'training')
  assert.equal(status([...part, { type: 'command', time: at(20), command: 'stop', atStep: 20 }]), 'stopping')
  assert.equal(status([...part, { type: 'done', time: at(20), atStep: 20, stopped: true, output: 'o', ms: 1 }]), 'stopped')
  assert.equal(status([...part, failed]), 'failed')
  assert.equal(status(part, { crashed }), 'crashed')
  assert.equal(status(part, { crashed: { ...crashed, code: 'run.lost' } }), 'lost')
  assert.equal(status(story(20), { crashed }), 'done')
  assert.deepEqual(boardData(part, { crashed }).state.error, crashed)
  assert.equal(boardData([...part, failed]).state.error?.message, 'out of memory; try .batch({ size: 4 })')
  // A resume begins anew.
  assert.equal(status([...part, failed, { ...part[1], time: at(200) } as RunEvent]), 'training')
})

test('buttons are those that reach the run and that its status leaves room for', () => {
  const controls = ['pause', 'resume', 'stop', 'save', 'sample', 'evaluate', 'set'] as const
  const of = (events: readonly RunEvent[], some: typeof controls | readonly ('stop' | 'resume')[] = controls) => boardData(events, { controls: some }).state.controls
  assert.deepEqual(of([]), ['stop'])
  assert.deepEqual(of(story(300, 20)), ['pause', 'stop', 'save', 'sample', 'evaluate', 'set'])
  assert.deepEqual(of([...story(300, 20), { type: 'command', time: at(20), command: 'pause', atStep: 20 }], ['stop', 'resume']), ['stop', 'resume'])
  assert.deepEqual(of(story(20)), [])
  assert.deepEqual(boardData(story(300, 20)).state.controls, [])
})

test('a resumed run counts each step once, the later time', () => {
  const events = story(40)
  const again = story(40).filter((event) => event.type === 'started' || (event.type === 'step' && event.step > 20)).map((event): RunEvent => (event.type === 'step' ? { ...event, time: event.time + 1e6, loss: 9 } : { ...event, time: event.time + 1e6 }))
  const { series } = boardData([...events.slice(0, 34), ...again]).state
  assert.deepEqual(series.step, Array.from({ length: 40 }, (_, i) => i + 1))
  assert.deepEqual([series.loss[19]! < 9, series.loss[20], series.loss[39]], [true, 9, 9])
})

test('a reader that looks now and then sees what one sees at once', () => {
  const events: RunEvent[] = []
  const reader = new BoardReader(events)
  for (const event of [...story(700, 400), ...story(700).filter((next) => next.type === 'step' && next.step > 350)]) {
    events.push(event)
    if (events.length % 37 === 0) reader.read()
  }
  assert.deepEqual(reader.read(), boardData(events))
})

test('long runs: few points, small state, extremes stay, and what is drawn does not move as the run grows', () => {
  const spiked = story(20_000).map((event): RunEvent => (event.type === 'step' && event.step === 7_777 ? { ...event, loss: 1e6 } : event.type === 'step' && event.step === 9_999 ? { ...event, loss: -5 } : event))
  const reader = new BoardReader(spiked.slice(0, 16_000))
  const early = reader.read().state
  const late = boardData(spiked.slice(0, 16_100)).state
  assert.ok(early.series.step.length <= 250 && early.series.step.length > 100, `${early.series.step.length}`)
  assert.ok(JSON.stringify(early).length < 24_000, `${JSON.stringify(early).length}`)
  const common = early.series.step.length - 2
  assert.deepEqual(late.series.loss.slice(0, common), early.series.loss.slice(0, common))
  assert.deepEqual(late.series.smoothLoss.slice(0, common), early.series.smoothLoss.slice(0, common))
  const final = boardData(spiked).state
  assert.ok(final.series.step.length <= 1000 && final.series.step.length > 500)
  const losses = final.series.loss.filter((loss): loss is number => loss !== null)
  assert.deepEqual([Math.max(...losses), Math.min(...losses), final.series.step[0], final.series.step.at(-1)], [1e6, -5, 1, 20_000])
  assert.ok(final.evals.length <= 251 && final.evals.at(-1)?.step === 20_000)
})

test('what is not finite is a gap', () => {
  const events = story(10).map((event) => (event.type === 'step' && event.step === 5 ? { ...event, loss: NaN, gradNorm: Infinity } : event))
  const { series, loss } = boardData(events).state
  assert.deepEqual([series.loss[4], series.gradNorm[4], series.smoothLoss[4]], [null, null, series.smoothLoss[3]])
  assert.ok(loss !== null)
  assert.equal(boardData(story(10).map((event) => (event.type === 'step' ? { ...event, loss: NaN } : event))).state.loss, null)
})

test('samples: few, clipped, the first of all stays', () => {
  const sample = (step: number): RunEvent & { type: 'sample' } => ({ type: 'sample', time: at(step), atStep: step, samples: Array.from({ length: 11 }, (_, i) => ({ prompt: `p${i}`, answer: '😀'.repeat(700), reference: null })) })
  const samples = samplesOf(Array.from({ length: 200 }, (_, i) => sample(i * 10)))
  assert.deepEqual([samples.prompts.length, samples.more, samples.at[0].untouched, samples.at[0].step, samples.at.at(-1)?.step], [8, 3, true, 0, 1990])
  assert.ok(samples.at.length <= 30 && samples.at.length >= 14, `${samples.at.length}`)
  assert.equal([...samples.at[0].answers[0]].length, 600)
  assert.deepEqual(spread([1, 2, 3], 5), [1, 2, 3])
  assert.deepEqual([start('a\nb'), start('x'.repeat(100_000), 5)], ['a\nb', 'xxxx…'])
})

test('hostile strings keep the state small', () => {
  const data = boardData(hostileStory())
  assert.ok(JSON.stringify(data.state).length < 30_000)
  assert.ok(JSON.stringify(data.samples).length < 40_000)
  assert.equal(data.state.warnings.length, 5)
})

test('an upload stands with what was saved', () => {
  const url = 'https://huggingface.co/me/first', uploaded: RunEvent = { type: 'uploaded', time: at(90), atStep: 100, to: 'huggingface', repository: 'me/first', url, files: ['adapter_model.safetensors'] }
  assert.deepEqual(boardData([...story(100, 100), uploaded]).state.saved.at(-1), { step: 100, path: url, final: true })
})

test('warnings of one kind are one, the newest last', () => {
  const warn = (code: string, seconds: number): RunEvent => ({ type: 'warning', time: at(seconds), code, message: `${code} ${seconds}` })
  const { warnings } = boardData([warn('a', 1), warn('b', 2), ...story(300, 20), warn('a', 30)]).state
  assert.deepEqual(warnings, [{ code: 'b', message: 'b 2', step: null, count: 1 }, { code: 'a', message: 'a 30', step: 20, count: 2 }])
})

test('the same charts at any time; the axis of steps grows in few large steps', () => {
  const ids = plotsOf(boardData([]).state).map(({ id }) => id)
  assert.deepEqual(ids, ['loss', 'learning-rate', 'gradient-norm', 'accuracy', 'speed', 'utilisation', 'memory'])
  const ends = [1, 10, 70, 76, 150, 151, 299].map((steps) => plotsOf(boardData(story(300, steps)).state)[0].to)
  assert.deepEqual(ends, [9.375, 18.75, 75, 150, 150, 300, 300])
  assert.equal(plotsOf(boardData(story(300)).state)[0].to, 300)
})

test('what jumps from step to step is drawn faint, and smoothed over it', () => {
  const plots = plotsOf(boardData(story(300)).state)
  assert.deepEqual(plots.filter(({ lines }) => lines.length === 2).map(({ id }) => id), ['gradient-norm', 'speed', 'utilisation'])
  for (const { lines: [raw, smooth] } of plots.filter(({ lines }) => lines.length === 2)) {
    const swing = (values: readonly (number | null)[]) => Math.max(...values.slice(100) as number[]) - Math.min(...values.slice(100) as number[])
    assert.match(raw.role, /faint/i)
    assert.ok(swing(smooth.y) < swing(raw.y) / 2)
  }
})

test('rates as one writes them', () => {
  assert.deepEqual([0.0001, 0.0003125, 0.001, 0.5, 0, 1 / 30_000].map(rateText), ['1e-4', '3.125e-4', '0.001', '0.5', '0', '3.3333e-5'])
})
