import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import type { RunEvent } from 'fettle/dist/run/events'
import { metricsName } from 'fettle/dist/run/folder'
import { MetricsLog, rewindMetrics } from 'fettle/dist/train/metrics'

const step = (n: number): RunEvent => ({
  type: 'step', time: n, step: n, totalSteps: 4, epoch: n / 4, loss: 1, learningRate: 1e-4, gradNorm: 1, tokens: 8, supervised: 4,
  ms: 1, tokensPerSecond: 8000, memory: 100, faults: 0, utilisation: 0.9
})

test('a full disk does not end a run: lines wait', { skip: !fs.existsSync('/dev/full') && 'no /dev/full here' }, () => {
  const output = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-metrics-'))
  try {
    fs.symlinkSync('/dev/full', path.join(output, metricsName))
    const log = new MetricsLog(output)
    assert.equal(log.append(step(1)), false)
    assert.equal(log.append(step(2)), false)
    log.close()
  } finally {
    fs.rmSync(output, { recursive: true })
  }
})

test('a resume keeps events up to its step and drops later ones, ends and a torn line', () => {
  const output = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-metrics-'))
  try {
    rewindMetrics(output, 2) // nothing there yet: nothing to do
    const log = new MetricsLog(output)
    log.append({ type: 'warning', time: 0, code: 'some.code', message: 'multi\nline' })
    log.append({ type: 'started', time: 0, pid: 1, model: 'm', parameters: 1, trainable: 1, totalSteps: 3, epochs: 1, startStep: 0, device: 'cpu', blocks: 'plain', threads: 1 })
    for (const n of [1, 2]) log.append(step(n))
    log.append({ type: 'saved', time: 2, atStep: 2, path: 'checkpoint-2', final: false })
    log.append(step(3))
    log.append({ type: 'done', time: 3, atStep: 3, stopped: true, output, ms: 3 })
    log.close()
    fs.appendFileSync(path.join(output, metricsName), '{"type":"step","time":4,"st')
    rewindMetrics(output, 2)
    const lines = fs.readFileSync(path.join(output, metricsName), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as RunEvent)
    assert.deepEqual(lines.map((event) => event.type), ['warning', 'step', 'step', 'saved'])
  } finally {
    fs.rmSync(output, { recursive: true })
  }
})
