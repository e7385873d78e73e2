// Fettle's side of the bench in training: the classes that a rank worker trains with, on the rows as given.
//   node train.mjs MODEL ROWS --case lora|full|prefix --adapter FOLDER --steps N --seconds S [--skip BATCHES] [--dtype bf16|fp32] [--form best|plain] [--threads N]
import { createRequire } from 'node:module'
import { data, loadDecoder, native, options, tell, tellEnd } from './common.mjs'

const require = createRequire(import.meta.url)
const { packBatch } = require('fettle/dist/models/batch'), { AdamW } = require('fettle/dist/train/optimizer'), { passesOf } = require('fettle/dist/train/cut'), { trainStep } = require('fettle/dist/train/step')
/** The peers' (peers/common.py). */
const learningRate = { lora: 2e-4, full: 2e-5, prefix: 1e-3 }[options.case]

const decoder = loadDecoder()
const optimizer = new AdamW(decoder.parameters.flat, { learningRate, weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 })
const { batch, rows } = data
const sequences = rows.slice(options.skip * batch).map(({ ids, supervisedFrom }) => ({ inputIds: ids, labels: ids.map((id, t) => (t < supervisedFrom ? -100 : id)) }))
/** A step's rows as runs cut them on CPUs where nothing else is asked for. */
const passes = (step) => passesOf([batchOf(step)], { tokens: (row) => row.inputIds.length, budget: null, ranks: 1, device: 'cpu' }).map((pass) => packBatch(pass))
/** Whole batches; beyond the last the first comes again. */
const batches = Math.floor(sequences.length / batch), batchOf = (step) => sequences.slice((step % batches) * batch, (step % batches + 1) * batch)
const begun = performance.now()
for (let step = 0; step < options.steps && (step < 3 || performance.now() - begun < options.limit); step++) {
  const faults = native.pageFaults().minor, start = performance.now()
  const { loss, tokens, supervised } = native.scope(() => trainStep(decoder, optimizer, passes(step), { learningRate, maxGradNorm: 1, dropout: false, recompute: false }))
  tell({ step: step + 1, tokens, supervised, seconds: (performance.now() - start) / 1000, loss, faults: native.pageFaults().minor - faults })
}
tellEnd(decoder)
