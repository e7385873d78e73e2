// Makes the tables of "A plan for many GPUs" in parallel.md from sdk/parallel/estimate/simulate.ts. `npm run docs`, or `node docs/parallel-plan.mjs FILE` for a copy.
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'

const docs = path.dirname(fileURLToPath(import.meta.url)), require = createRequire(import.meta.url)
const { candidates } = require('../sdk/dist/parallel/estimate/candidates'), { familyOf } = require('../sdk/dist/models/families')
const { meshCalls } = require('../sdk/dist/parallel/mesh/shape'), { whole } = require('../sdk/dist/views/format')

/** 80 GB GPUs, 8 a node. None of it is measured: what such machines are said to reach, rounded down. */
const cluster = {
  flops: 4e14, bandwidth: 2.5e12, memory: 72e9, overlap: 1, perNode: 8,
  inside: { alpha: 5e-6, beta: 1 / 300e9 }, between: { alpha: 10e-6, beta: 1 / 45e9 },
}
const step = { valueBytes: 2, rows: 2048, rowTokens: 2048, microRows: 1 }

function llama(config) {
  const all = { model_type: 'llama', vocab_size: 32000, max_position_embeddings: 4096, rms_norm_eps: 1e-5, ...config }, family = familyOf(all), architecture = family.architecture(all)
  return { architecture, names: family.names(architecture) }
}
const small = llama({ hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 32, intermediate_size: 11008 })
const large = llama({ hidden_size: 8192, num_hidden_layers: 80, num_attention_heads: 64, num_key_value_heads: 8, intermediate_size: 28672 })
const runs = [['LLaMA 7B, all weights', small, null], ['LLaMA 70B, all weights', large, null], ['LLaMA 70B, LoRA of rank 8 on all linear layers', large, 8]]

/** The fastest mesh of each way to divide a model that is not slower than half of the best. */
function fastest(all) {
  const way = ({ mesh: { tp, pp } }) => `${tp > 1} ${pp > 1}`
  return all.filter((each, i) => all.findIndex((other) => way(other) === way(each)) === i && each.estimate.seconds < 2 * all[0].estimate.seconds)
}

const seconds = (s) => (s < 0.005 ? '–' : s.toFixed(2))

function row(ranks, { mesh, recompute, estimate: { seconds: total, compute, moving, communication, bubble, tokensPerSecond, memory } }) {
  const { tp, pp, dp, sharding } = communication, both = (a, b) => seconds(a.exposed + b.exposed)
  return [whole(ranks), `\`${meshCalls(mesh)}\`${recompute ? ', recompute' : ''}`, whole(Math.round(tokensPerSecond / ranks)), seconds(total), seconds(compute), seconds(moving), both(dp, sharding), both(tp, pp), `${Math.round(100 * bubble)}%`, Math.round(memory.total / 1e9)]
}

function table([title, model, adapterRank]) {
  const rows = [8, 64, 1024].flatMap((ranks) => {
    const all = candidates({ ...step, model, adapterRank }, cluster, ranks)
    return all.length === 0 ? [[whole(ranks), 'none fits', '', '', '', '', '', '', '', '']] : fastest(all).map((each) => row(ranks, each))
  })
  return `### ${title}\n\n| GPUs | mesh | tokens/s a GPU | step, s | products, s | memory, s | data and sharding, s | tensor and pipeline, s | bubble | GB a GPU |\n|---|---|---|---|---|---|---|---|---|---|\n${rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

const file = path.join(docs, 'parallel.md'), mark = /(<!-- plan -->\n)[\s\S]*?(<!-- \/plan -->)/, page = fs.readFileSync(file, 'utf8')
if (!mark.test(page)) throw new Error('parallel.md has no <!-- plan --> for the tables to stand in')
const text = runs.map(table).join('\n')
fs.writeFileSync(process.argv[2] ?? file, page.replace(mark, (_, open, close) => `${open}${text}${close}`))
