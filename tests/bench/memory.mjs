// Memory of a training step by setting: `node tests/bench/memory.mjs`. Prints the table of docs/memory.md: what one step
// adds to the resident memory of a fresh process, at its peak, for a LLaMA-shaped model of random weights.
import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { readFileSync, writeFileSync, writeSync } from 'node:fs'

const require = createRequire(import.meta.url)
const shape = { vocab_size: 512, hidden_size: 256, num_hidden_layers: 12, num_attention_heads: 4, num_key_value_heads: 4, intermediate_size: 704 }
const rows = 4, length = 128
const settings = [
  { name: 'fp32' }, { name: 'fp32, recompute full', recompute: true }, { name: 'fp32, recompute full_attn', recompute: 'attention' },
  { name: 'bf16', dtype: 'bfloat16' }, { name: 'bf16, recompute full', dtype: 'bfloat16', recompute: true },
  { name: 'fp32, plain blocks', blocks: 'plain' }, { name: 'fp16 O1 (plain blocks)', autocast: true }, { name: 'fp16 O2 (plain blocks)', dtype: 'float16' },
  { name: 'fp16 O2, recompute full', dtype: 'float16', recompute: true },
  { name: 'fp32, rows of 16, 32, 64 and 128 tokens, laid end to end', lengths: [16, 32, 64, 128] },
]

/** VmHWM or VmRSS of this process, MiB. */
const status = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024

function measure({ dtype = 'float32', blocks = 'auto', autocast = false, recompute = false, lengths = Array(rows).fill(length) }) {
  const native = require('fettle-native'), at = (name) => require(`fettle/dist/${name}`)
  native.setThreads(1)
  native.tuneAllocator()
  const { FlatParameters } = at('models/flat'), { storedWeights } = at('models/layout'), { Parameters } = at('models/parameters'), { llama } = at('models/families/llama')
  const architecture = llama.architecture({ model_type: 'llama', rms_norm_eps: 1e-5, max_position_embeddings: 2048, ...shape }), names = llama.names(architecture)
  const stored = storedWeights(architecture, names), flat = new FlatParameters(stored, dtype, 'cpu')
  native.manualSeed(1)
  native.ops.copy_(flat.master, native.ops.mul(native.ops.rand([flat.size], { dtype: 'float32', device: 'cpu' }), 0.02))
  const parameters = new Parameters(architecture, names, new Map(stored.map((spec, i) => [spec.key, flat.weights[i]])), flat, dtype, 'cpu', new Map(), new Map())
  const decoder = new (at('models/decoder').Decoder)(parameters, at('models/blocks/fused').chooseBlocks({ device: 'cpu', dtype, blocks, autocast }))
  decoder.weightsChanged()
  native.ops.add_(flat.grad, 0) // its pages are there before
  const sequences = lengths.map((count) => ({ inputIds: Array.from({ length: count }, (_, i) => 3 + ((i * 7) % 500)), labels: Array.from({ length: count }, (_, i) => (i < count - 16 ? -100 : 5)) }))
  const batch = at('models/batch').packBatch(sequences), before = status('VmRSS')
  writeFileSync('/proc/self/clear_refs', '5') // the peak is counted from here
  const { lossSum } = at('train/walk').walk(decoder, batch, { scale: autocast || dtype === 'float16' ? 1 : 1e-3, recompute, training: true })
  lossSum.item()
  return status('VmHWM') - before
}

if (process.argv[2] === 'one') writeSync(1, String(measure(JSON.parse(process.argv[3]))))
else {
  console.log('| setting | a step adds (MiB) |\n|---|---|')
  for (const setting of settings) console.log(`| ${setting.name} | ${Math.round(Number(execFileSync(process.execPath, [import.meta.filename, 'one', JSON.stringify(setting)], { encoding: 'utf8' })))} |`)
}
