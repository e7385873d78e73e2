// A rank process of the parallel bench: the model's part, blocks and trainer of a real run, over rows of one length.
// Writes what it measured into rank-N.json of the job's folder.
import { createRequire } from 'node:module'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { forgetPeak, loopbackBytes, Meter, peak, resident } from './meter.mjs'

const require = createRequire(import.meta.url)
const native = require('fettle-native')
const meter = new Meter(native.ProcessGroup)
const { serializeError } = require('fettle/dist/errors')
const { meshShape } = require('fettle/dist/parallel/mesh/shape')
const { Ranks } = require('fettle/dist/parallel/ranks')
const { Trainer } = require('fettle/dist/train/trainer')
const { Windows } = require('fettle/dist/train/windows')
const { openModel } = require('fettle/dist/worker/session')

process.once('message', (job) => {
  const say = (message) => process.send(message, undefined, undefined, () => process.exit(message.kind === 'done' ? 0 : 1))
  try {
    writeFileSync(join(job.folder, `rank-${job.rank}.json`), JSON.stringify(run(job)))
    say({ kind: 'done' })
  } catch (error) {
    say({ kind: 'failed', error: serializeError(error) })
  }
})

/** Rows of one length, every token supervised. */
function rowsOf(count, tokens, vocabulary) {
  const row = (index) => Int32Array.from({ length: tokens }, (_, t) => 3 + ((index * 7919 + t * 104729) % (vocabulary - 3)))
  return { rows: count, split: { longest: tokens, hash: 'bench' }, row: (index) => ({ inputIds: row(index), labels: row(index) }), length: () => tokens, supervised: () => tokens - 1 }
}

function open({ plan, model, rank, count, store, apart, rowTokens, overlap }) {
  const opened = native.Store.file(store, count, 60_000)
  const all = count > 1 ? native.ProcessGroup.open(opened, 'bench', rank, count, 600_000) : null
  const ranks = apart || count === 1 ? Ranks.alone() : Ranks.join(meshShape(plan.mesh), { store: opened, rank, timeout: 600_000, address: '127.0.0.1' })
  const before = resident()
  forgetPeak()
  const { decoder } = openModel(plan, model, ranks, null), perStep = plan.batch.size * ranks.data.count * plan.batch.accumulate, rows = rowsOf(plan.steps * perStep, rowTokens, decoder.parameters.architecture.vocabSize)
  const windows = new Windows(rows.rows, { ...plan.batch, size: plan.batch.size * ranks.data.count }, plan, () => Array.from({ length: rows.rows }, (_, i) => i))
  decoder.blocks.reserve(plan.batch.size * rowTokens)
  const trainer = new Trainer({ plan, decoder, rows, windows, recompute: false, ranks }), { hooks } = decoder.parameters
  // Without these calls nothing leaves with its layer: all of it goes at the end.
  if (!overlap && hooks !== null) decoder.parameters.hooks = { ...hooks, done: () => undefined }
  return { all, trainer, before }
}

function run(job) {
  native.tuneAllocator()
  const { all, trainer, before } = open(job), { steps, warmup } = job
  const meet = () => native.scope(() => { all?.allReduce(native.tensor([0n])) })
  for (let step = 0; step < warmup; step++) trainer.next()
  meet()
  const bytes = loopbackBytes(), seconds = []
  let tokens = 0
  meet()
  meter.blocked = 0
  for (let step = 0; step < steps; step++) {
    const start = performance.now()
    tokens = trainer.next().tokens
    seconds.push((performance.now() - start) / 1000)
  }
  const { blocked } = meter
  meet()
  return { seconds, tokens, blocked: blocked / seconds.reduce((a, b) => a + b, 0), bytes: (loopbackBytes() - bytes) / steps, resident: resident() - before, peak: peak() - before, cpu: (({ user, system }) => (user + system) / 1e6)(process.cpuUsage()) }
}
