import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import type { StreamedRow } from 'fettle/dist/data/stream-protocol'
import { shuffledStream } from 'fettle/dist/data/stream-order'
import { readSafetensors } from 'fettle/dist/models/weights'
import { StreamWindows } from 'fettle/dist/train/stream-windows'
import { temporaryFolder } from '../../support/tiny'
import { readMetrics, startWorker, stopAndResume, workerPlan } from '../../support/worker'

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

test('a shuffle buffer gives each item once, another order each epoch, the same again from its seed', () => {
  const order = (size: number, seed: number, epoch: number): number[] => [...shuffledStream(numbers(200), size, seed, epoch)]
  for (const size of [1, 7, 200, 1000]) assert.deepEqual(order(size, 3, 0).sort((a, b) => a - b), numbers(200))
  assert.deepEqual(order(20, 3, 0), order(20, 3, 0))
  assert.notDeepEqual(order(20, 3, 0), order(20, 3, 1))
  assert.notDeepEqual(order(20, 3, 0), order(20, 4, 0))
  assert.deepEqual(order(1, 3, 0), numbers(200))
  // Nothing is drawn before it was read.
  order(20, 3, 0).forEach((item, place) => assert.ok(item <= place + 20))
})

/** Row n holds the number n, in a length that differs; 10 rows an epoch. */
const source = (skip: number, fails = Infinity): { next(): Promise<StreamedRow>; close(): void } => {
  let at = skip
  return {
    next: () => at >= fails ? Promise.reject(new Error('bad row')) : Promise.resolve({ inputIds: new Int32Array(1 + (at * 7) % 5).fill(at), labels: new Int32Array(1 + (at * 7) % 5), epoch: Math.floor(at++ / 10) }),
    close: () => undefined,
  }
}
const windowsOf = (packed: number | null, fails?: number): StreamWindows => new StreamWindows((skip) => source(skip, fails), { batch: { size: 2, evalSize: 1, accumulate: 2, tokens: null }, steps: 6, packed, ranks: 1, device: 'cpu', hash: 'h' })

for (const packed of [null, 8]) {
  test(`steps of a stream take each row once, in order, and a resume goes on where they stood: ${packed === null ? 'rows' : 'packs'}`, async () => {
    const steps = async (windows: StreamWindows, from: number, to: number): Promise<number[][][]> => {
      const all: number[][][] = [], rows = windows.reader()
      for (let step = from; step < to; step++) {
        await windows.ready()
        const window = windows.at(step)
        window.flat().forEach((number) => assert.equal(rows.row(number).inputIds[0], number))
        if (packed !== null) for (const micro of window) assert.ok(micro.reduce((sum, number) => sum + rows.length(number), 0) <= 2 * packed)
        all.push(window)
      }
      return all
    }
    const straight = windowsOf(packed), whole = await steps(straight, 0, 6)
    assert.deepEqual(whole.flat(2), numbers(straight.taken))
    const first = windowsOf(packed), begun = await steps(first, 0, 2), second = windowsOf(packed)
    second.seek(first.taken)
    assert.deepEqual([...begun, ...await steps(second, 2, 6)], whole)
    assert.equal(straight.epochsDone(), Math.floor((straight.taken - 1) / 10))
  })
}

test('a step whose rows do not come takes none', async () => {
  const windows = windowsOf(null, 6)
  await windows.ready()
  windows.at(0)
  await assert.rejects(windows.ready(), /bad row/)
  assert.equal(windows.taken, 4)
})

const lazy = (folder: string, changes: object, packing = false): ReturnType<typeof workerPlan> => {
  const plan = workerPlan(folder, { steps: 12, evaluate: { by: 'no' }, ...changes })
  return { ...plan, data: { ...plan.data, lazy: true, shuffleBuffer: 4, packing, maxLength: packing ? 64 : plan.data.maxLength } }
}

for (const packing of [false, true]) {
  test(`a streamed run resumes in the middle of the stream bit for bit${packing ? ', packed' : ''}`, async (t) => {
    const folder = temporaryFolder(t), weights = (output: string): Buffer[] => [...readSafetensors(path.join(output, 'model.safetensors')).values()].map((value) => Buffer.from(value.toBytes()))
    const whole = lazy(folder, { output: path.join(folder, 'whole') }, packing), first = startWorker(t, whole)
    await first.event('done')
    await first.close()
    const plan = lazy(folder, { output: path.join(folder, 'parts') }, packing)
    await stopAndResume(t, plan, 4)
    const losses = (output: string): number[] => readMetrics(output).flatMap((event) => (event.type === 'step' ? [event.loss] : []))
    assert.deepEqual(losses(plan.output), losses(whole.output))
    assert.deepEqual(weights(plan.output), weights(whole.output))
  })
}

test('a bad row in the middle of a stream ends the run by file and line, and what was learned is saved', async (t) => {
  const folder = temporaryFolder(t), plan = lazy(folder, { steps: 1000 })
  const file = path.join(plan.data.path!, 'train.json')
  const good = fs.readFileSync(file, 'utf8').repeat(400), bad = good.split('\n').length
  fs.writeFileSync(file, `${good}{"src": 1}\n`)
  const worker = startWorker(t, plan), failed = await worker.event('failed')
  assert.match(failed.error.message, new RegExp(`train\\.json:${bad}`))
  assert.equal(failed.error.name, 'DataError')
  const steps = worker.of('step').length
  assert.ok(steps > 0)
  assert.ok(fs.existsSync(path.join(plan.output, `checkpoint-${steps}`)))
})
