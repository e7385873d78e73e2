// Models of chosen shapes with random weights, rows of chosen lengths, and what a run of them took.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { manualSeed, ops, scope, type Tensor } from 'fettle-native'
import { plan, type Sft } from 'fettle'
import { familyOf } from 'fettle/dist/models/families'
import { storedWeights } from 'fettle/dist/models/layout'
import { Random } from 'fettle/dist/models/random'
import { writeSafetensors } from 'fettle/dist/models/weights'
import { byteTokenizer } from './tiny'

export type Config = Readonly<Record<string, unknown>>

/** Shapes of five families, of 4 to 40 million values. */
export const shapes = {
  llama: { model_type: 'llama', vocab_size: 8000, hidden_size: 320, num_hidden_layers: 8, num_attention_heads: 8, num_key_value_heads: 4, intermediate_size: 896, max_position_embeddings: 4096, rms_norm_eps: 1e-5, tie_word_embeddings: false },
  qwen2: { model_type: 'qwen2', vocab_size: 16000, hidden_size: 256, num_hidden_layers: 12, num_attention_heads: 8, num_key_value_heads: 2, intermediate_size: 704, max_position_embeddings: 4096, rms_norm_eps: 1e-6, tie_word_embeddings: true },
  opt: { model_type: 'opt', vocab_size: 8000, hidden_size: 256, num_hidden_layers: 6, num_attention_heads: 8, ffn_dim: 1024, max_position_embeddings: 4096, word_embed_proj_dim: 256, do_layer_norm_before: true, activation_function: 'relu' },
  bloom: { model_type: 'bloom', vocab_size: 12000, hidden_size: 256, n_layer: 6, n_head: 8, layer_norm_epsilon: 1e-5 },
  chatglm2: { model_type: 'chatglm', padded_vocab_size: 8192, hidden_size: 256, num_layers: 8, num_attention_heads: 8, kv_channels: 32, multi_query_attention: true, multi_query_group_num: 2, ffn_hidden_size: 688, seq_length: 4096, layernorm_epsilon: 1e-5, add_qkv_bias: true, add_bias_linear: false, rmsnorm: true, post_layer_norm: true, apply_residual_connection_post_layernorm: false },
} as const satisfies Record<string, Config>

/** Weights of a shape by name and size, in the order of their files. */
function partsOf(config: Config): readonly (readonly [name: string, shape: readonly number[]])[] {
  const family = familyOf(config as never), architecture = family.architecture(config as never)
  return storedWeights(architecture, family.names(architecture)).flatMap(({ parts, shape }) => parts.map(({ name, rows }) => [name, [rows, ...shape.slice(1)]] as const))
}

/** Writes a model of a shape with random weights, and the byte tokenizer. */
export function shapedModel(folder: string, config: Config, dtype: 'float32' | 'bfloat16' = 'float32'): string {
  fs.mkdirSync(folder, { recursive: true })
  manualSeed(1)
  scope(() => {
    const tensors = partsOf(config).map(([name, shape]): [string, Tensor] => [name, ops.to(ops.mul(ops.randn(shape, { dtype: 'float32' }), 0.02), { dtype })])
    writeSafetensors(path.join(folder, 'model.safetensors'), new Map(tensors))
  })
  return withTokenizer(folder, config)
}

/** The same with zeros that take no place on the disk, so that it may be larger than the machine. fp32. */
export function hollowModel(folder: string, config: Config): string {
  fs.mkdirSync(folder, { recursive: true })
  let end = 0
  const header = JSON.stringify(Object.fromEntries(partsOf(config).map(([name, shape]) => [name, { dtype: 'F32', shape, data_offsets: [end, (end += 4 * shape.reduce((a, b) => a * b, 1))] }])))
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8), length = Buffer.alloc(8), file = path.join(folder, 'model.safetensors')
  length.writeBigUInt64LE(BigInt(padded.length))
  fs.writeFileSync(file, Buffer.concat([length, Buffer.from(padded)]))
  fs.truncateSync(file, 8 + padded.length + end)
  return withTokenizer(folder, config)
}

function withTokenizer(folder: string, config: Config): string {
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config))
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(byteTokenizer()))
  fs.writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast', bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' }))
  return folder
}

/** Rows of `from` to `to` bytes, about half of each an answer. */
export function shapedData(folder: string, rows: number, from: number, to: number): string {
  fs.mkdirSync(folder, { recursive: true })
  const random = new Random(3), text = (length: number): string => Array.from({ length }, () => 'abcdefghij klmnop'[Math.floor(random.uniform() * 17)]).join('')
  fs.writeFileSync(path.join(folder, 'train.json'), Array.from({ length: rows }, () => {
    const length = Math.round(from + random.uniform() * (to - from)), source = Math.max(1, Math.floor(length / 2))
    return `${JSON.stringify({ src: text(source), tgt: text(Math.max(1, length - source)) })}\n`
  }).join(''))
  return folder
}

/** What was predicted of a run, and what was measured. */
export interface Outcome { readonly predicted: { readonly memory: number; readonly seconds: number }; readonly measured: { readonly memory: number; readonly seconds: number } }

/** Predicts a run, then runs it in real workers: the highest resident memory of any of its ranks, and the median of its steps behind the first. */
export async function predictAndRun(builder: Sft, seconds = 6): Promise<Outcome> {
  const forecast = await plan(builder, { seconds, search: false })
  return { predicted: { memory: Math.max(...forecast.memory.map(({ total }) => total)), seconds: forecast.time.total }, measured: await measuredRun(builder) }
}

/** Runs it to its end. */
export async function measuredRun(builder: Sft): Promise<Outcome['measured']> {
  const run = await builder.start({ board: false }), times: number[] = []
  try {
    let memory = 0
    for await (const event of run) {
      if (event.type === 'step') times.push(event.ms / 1000)
      if (event.type === 'step' || event.type === 'saved' || event.type === 'done') memory = Math.max(memory, ...[run.pid, ...childrenOf(run.pid)].map(peakOf))
    }
    await run.done
    const sorted = times.slice(1).sort((a, b) => a - b)
    return { memory: Math.max(memory, peakOf(run.pid)), seconds: sorted[Math.floor(sorted.length / 2)] }
  } finally {
    await run.close()
  }
}

/** VmHWM in bytes; 0 of a process that has ended. */
function peakOf(pid: number): number {
  try { return Number(/^VmHWM:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024 } catch { return 0 }
}

/** Other ranks are children of the first; what prepares data is one too, and small. */
function childrenOf(pid: number): number[] {
  return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter((name) => {
    try { return Number(fs.readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[1]) === pid } catch { return false }
  }).map(Number)
}
