// What both of Fettle's direct sides share: arguments, the decoder that a rank worker would have, and the last line.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { peakOf } from './peak.mjs'

const require = createRequire(import.meta.url)
export const native = require('fettle-native')
const { loadLora } = require('fettle/dist/adapters/peft'), { loadPrefix } = require('fettle/dist/adapters/prefix-files')
const { chooseBlocks } = require('fettle/dist/models/blocks/fused'), { Decoder } = require('fettle/dist/models/decoder')
const { loadParameters } = require('fettle/dist/models/load'), { openWeights } = require('fettle/dist/models/weights')

const text = (fallback) => ({ type: 'string', default: fallback })
const { values, positionals: [model, rows] } = parseArgs({
  allowPositionals: true,
  options: {
    case: text('lora'), adapter: text(''), steps: text('10'), seconds: text('60'), skip: text('0'), dtype: text('bf16'), threads: text('2'), form: text('best'), 'adapter-dtype': text('model'),
    batch: text('1'), prompt: text('64'), new: text('64'),
  },
})

/** As the peers' scripts take them; `form`: `best` (fused blocks) or `plain`. */
export const options = {
  model, case: values.case, adapter: values.adapter, steps: Number(values.steps), limit: Number(values.seconds) * 1000, skip: Number(values.skip), dtype: values.dtype === 'bf16' ? 'bfloat16' : 'float32',
  threads: Number(values.threads), blocks: values.form === 'plain' ? 'plain' : 'auto', batch: Number(values.batch), prompt: Number(values.prompt), fresh: Number(values.new),
}
export const data = JSON.parse(readFileSync(rows, 'utf8'))

/** The model, with what trains attached: the adapter alone, or all weights. */
export function loadDecoder() {
  native.setThreads(options.threads)
  native.tuneAllocator()
  const { dtype } = options, parameters = loadParameters(openWeights(options.model), { dtype, device: 'cpu', train: options.case === 'full' })
  if (options.case === 'lora') loadLora(parameters, options.adapter)
  if (options.case === 'prefix') loadPrefix(parameters, options.adapter)
  return new Decoder(parameters, chooseBlocks({ device: 'cpu', dtype, blocks: options.blocks }))
}

export const tell = (values) => console.log(JSON.stringify(values))
export const tellEnd = (decoder) => tell({ peakMiB: peakOf('self'), form: `${values.dtype}, ${decoder.blocks.form} blocks` })
