// Fettle's side of the bench: the classes that a rank worker trains with, on the rows as given.
//   node fettle.mjs MODEL ADAPTER ROWS --steps N --seconds S [--skip BATCHES] [--dtype bf16|fp32] [--blocks auto|plain] [--threads N]
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const require = createRequire(import.meta.url)
const native = require('fettle-native')
const { loadLora } = require('fettle/dist/adapters/peft')
const { chooseBlocks } = require('fettle/dist/models/blocks/fused')
const { packBatch } = require('fettle/dist/models/batch')
const { Decoder } = require('fettle/dist/models/decoder')
const { loadParameters } = require('fettle/dist/models/load')
const { openWeights } = require('fettle/dist/models/weights')
const { AdamW } = require('fettle/dist/train/optimizer')
const { trainStep } = require('fettle/dist/train/step')

const { values, positionals: [model, adapter, rowsFile] } = parseArgs({
  allowPositionals: true,
  options: { steps: { type: 'string' }, seconds: { type: 'string' }, skip: { type: 'string', default: '0' }, dtype: { type: 'string', default: 'bf16' }, blocks: { type: 'string', default: 'auto' }, threads: { type: 'string', default: '2' } },
})

native.setThreads(Number(values.threads))
native.tuneAllocator()
const dtype = values.dtype === 'bf16' ? 'bfloat16' : 'float32'
const parameters = loadParameters(openWeights(model), { dtype, device: 'cpu', train: false })
loadLora(parameters, adapter)
const decoder = new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype, blocks: values.blocks }))
const optimizer = new AdamW(parameters.flat, { learningRate: 2e-4, weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 })

const { batch, rows } = JSON.parse(readFileSync(rowsFile, 'utf8'))
const sequences = rows.slice(Number(values.skip) * batch).map(({ ids, supervisedFrom }) => ({ inputIds: ids, labels: ids.map((id, t) => (t < supervisedFrom ? -100 : id)) }))
const steps = Math.min(Number(values.steps), sequences.length / batch), limit = Number(values.seconds) * 1000
const begun = performance.now()
for (let step = 0; step < steps && (step < 3 || performance.now() - begun < limit); step++) {
  const faults = native.pageFaults().minor, start = performance.now()
  const { loss, tokens, supervised } = native.scope(() => trainStep(decoder, optimizer, [packBatch(sequences.slice(step * batch, (step + 1) * batch))], { learningRate: 2e-4, maxGradNorm: 1, dropout: false, recompute: false }))
  console.log(JSON.stringify({ step: step + 1, tokens, supervised, seconds: (performance.now() - start) / 1000, loss, faults: native.pageFaults().minor - faults }))
}
console.log(JSON.stringify({ peakMiB: process.resourceUsage().maxRSS / 1024, form: decoder.blocks.form }))
