// Steps a second of the walk with the optimizer, plain form against the form for GPUs, and that with graphs, in turns, on
// random weights of SmolLM2-135M's shape (--layers N for fewer) or a model's folder. LoRA of rank 8 on all linear layers.
//   node tests/gpu/bench.mjs [--device cuda:0] [--dtype bfloat16] [--tokens 4096] [--steps 20] [--rounds 3] [--layers 30] [--model FOLDER]
import { createRequire } from 'node:module'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

const require = createRequire(import.meta.url)
const { cudaKernels, devices, manualSeed, noGrad, ops, scope } = require('fettle-native')
const at = (name) => require(`fettle/dist/${name}`)
const { packBatch } = at('models/batch'), { chooseBlocks } = at('models/blocks/fused'), { Decoder } = at('models/decoder'), { loadParameters } = at('models/load'), { openWeights } = at('models/weights')
const { attachLora } = at('adapters/lora'), { loraConfig } = at('adapters/lora-config'), { storedWeights } = at('models/layout'), { familyOf } = at('models/families'), { writeSafetensors } = at('models/weights/safetensors-write')
const { AdamW } = at('train/optimizer'), { cudaRecorder, WalkGraphs } = at('train/graphs'), { trainStep } = at('train/step'), { defaultPlan } = at('plan/defaults'), { Random } = at('models/random')

const { values } = parseArgs({ options: Object.fromEntries(Object.entries({ device: 'cuda:0', dtype: 'bfloat16', tokens: '4096', steps: '20', rounds: '3', layers: '30', model: '' }).map(([name, value]) => [name, { type: 'string', default: value }])) })
const { device, dtype } = values, tokens = Number(values.tokens), steps = Number(values.steps)

/** A model of random weights in a temporary folder. */
function randomModel() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-bench-'))
  const config = { model_type: 'llama', hidden_size: 576, intermediate_size: 1536, num_hidden_layers: Number(values.layers), num_attention_heads: 9, num_key_value_heads: 3, head_dim: 64, vocab_size: 49152, max_position_embeddings: 8192, rms_norm_eps: 1e-5, rope_theta: 100000, tie_word_embeddings: true, hidden_act: 'silu', bos_token_id: 1, eos_token_id: 2 }
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config))
  const family = familyOf(config), architecture = family.architecture(config)
  const entries = new Map(storedWeights(architecture, family.names(architecture)).flatMap(({ parts }) => parts.map(({ name, whole }) => [name, { dtype: 'bfloat16', shape: whole, make: () => (whole.length === 1 ? ops.ones(whole, { dtype: 'bfloat16' }) : ops.mul(ops.randn(whole, { dtype: 'bfloat16' }), 0.02)) }])))
  writeSafetensors(path.join(folder, 'model.safetensors'), entries)
  return folder
}

/** Batches of sequences whose lengths differ, about `tokens` each. */
function batches(vocabulary) {
  const random = new Random(1), below = (n) => Math.floor(random.uniform() * n)
  return Array.from({ length: 4 }, () => {
    const rows = []
    for (let left = tokens; left > 0;) {
      const length = Math.min(left, 16 + below(tokens / 4)), inputIds = Int32Array.from({ length }, () => 3 + below(vocabulary - 3))
      rows.push({ inputIds, labels: inputIds.map((id, t) => (t < length / 2 ? -100 : id)) })
      left -= length
    }
    return packBatch(rows, device)
  })
}

function open(folder, form) {
  manualSeed(1)
  const parameters = loadParameters(openWeights(folder), { dtype, device, train: false })
  attachLora(parameters, loraConfig({ rank: 8, alpha: 16 }), { seed: 1 })
  const decoder = new Decoder(parameters, chooseBlocks({ device, dtype, blocks: form === 'plain' ? 'plain' : 'auto' }))
  decoder.weightsChanged()
  return { form, decoder, optimizer: new AdamW(parameters.flat, defaultPlan('').optimizer), graphs: form === 'graphs' ? new WalkGraphs(decoder, cudaRecorder(device)) : undefined }
}

/** Milliseconds a step, and the last loss; a step reads its loss, which waits for the device. */
function time({ decoder, optimizer, graphs }, data, count) {
  const options = { learningRate: 1e-4, maxGradNorm: 1, dropout: false, recompute: false, graphs }, start = performance.now()
  let loss
  for (let i = 0; i < count; i++) ({ loss } = noGrad(() => scope(() => trainStep(decoder, optimizer, [data[i % data.length]], options))))
  return { ms: (performance.now() - start) / count, loss }
}

const onGpu = device !== 'cpu'
if (onGpu && !devices().some(({ kind }) => kind === 'cuda')) {
  console.error('this bench needs a GPU; --device cpu --layers 1 --tokens 64 --steps 1 shows that it runs')
  process.exit(1)
}
const folder = values.model || randomModel(), forms = onGpu ? ['plain', 'cuda', 'graphs'] : ['plain', 'auto']
try {
  console.log(onGpu ? `${cudaKernels().architectures[0]}, NVRTC ${cudaKernels().nvrtc}, ${cudaKernels().obstacle ?? 'kernels run'}` : 'on the CPU')
  const opened = forms.map((form) => open(folder, form)), data = batches(opened[0].decoder.parameters.architecture.vocabSize)
  for (const setting of opened) console.log(`${setting.form}: form ${setting.decoder.blocks.form}, first loss ${time(setting, data, 3 * data.length).loss.toFixed(4)}`)
  for (let round = 0; round < Number(values.rounds); round++)
    for (const setting of opened) {
      const { ms, loss } = time(setting, data, steps)
      console.log(`round ${round + 1}  ${setting.form.padEnd(6)}  ${ms.toFixed(2)} ms a step  ${Math.round(tokens / ms * 1000)} tokens/s  loss ${loss.toFixed(4)}${setting.graphs ? `  ${setting.graphs.count} graphs` : ''}`)
    }
} finally {
  if (!values.model) fs.rmSync(folder, { recursive: true })
}
