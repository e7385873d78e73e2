import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ops, scope, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Parameters } from '../models/parameters'
import { readSafetensors, writeJsonAtomically, writeSafetensors } from '../models/weights'
import { readPickled } from '../models/weights/pickle'
import { configName, prefixEncoderName, prefixFile, weightsName } from './adapter-files'
import { readPrefixConfig, type SavedPrefix } from './kind'
import { attachPrefix, type PrefixAdapter } from './prefix'
import { embeddingsName, type PrefixConfig } from './prefix-config'

/**
 * Attaches a saved prefix of PEFT or of PaddleNLP. The network that made it is there again where its folder has it
 * (`prefix_encoder.safetensors` of ours, all of PaddleNLP's); else the keys and values themselves go on training.
 * @throws ModelError `prefix.*`
 */
export function loadPrefix(parameters: Parameters, folder: string): PrefixAdapter {
  return scope(() => {
    const saved = readPrefixConfig(folder), { layers, kvHeads, headDim } = parameters.architecture
    if (saved.layers !== layers || saved.kvHeads !== kvHeads || saved.headDim !== headDim) {
      throw new ModelError('prefix.model', `expected a prefix of ${layers} layers with ${kvHeads} key/value heads of ${headDim}, got ${saved.layers} with ${saved.kvHeads} of ${saved.headDim} in ${folder}; use it with the model that it was trained on`, { folder, layers: saved.layers, kvHeads: saved.kvHeads, headDim: saved.headDim })
    }
    const { config, state } = saved.layout === 'peft' ? readPeft(folder, saved) : readPaddle(folder, saved)
    return attachPrefix(parameters, config, { state })
  })
}

/**
 * Writes a prefix as PEFT does: all keys and values in fp32, without the network that made them, which stands beside in a
 * file of ours so that training may go on.
 */
export function savePrefix(adapter: PrefixAdapter, parameters: Parameters, folder: string, baseModel: string | null): void {
  const { config: { tokens, hidden } } = adapter, { layers, kvHeads, headDim } = parameters.architecture, width = kvHeads * headDim
  mkdirSync(folder, { recursive: true })
  scope(() => {
    writeSafetensors(join(folder, weightsName), new Map([[embeddingsName, adapter.embeddings()]]), { format: 'pt' })
    if (hidden !== null) writeSafetensors(join(folder, prefixEncoderName), adapter.state(), { format: 'pt' })
  })
  writeJsonAtomically(join(folder, configName), {
    peft_type: 'PREFIX_TUNING', task_type: 'CAUSAL_LM', base_model_name_or_path: baseModel, inference_mode: true,
    num_virtual_tokens: tokens, prefix_projection: hidden !== null, encoder_hidden_size: hidden ?? width,
    num_layers: layers, num_attention_heads: kvHeads, token_dim: width, num_transformer_submodules: 1, modules_to_save: null,
  })
}

interface Read { readonly config: PrefixConfig; readonly state: ReadonlyMap<string, Tensor> }

function readPeft(folder: string, { config }: SavedPrefix): Read {
  const encoder = join(folder, prefixEncoderName)
  if (config.hidden !== null && existsSync(encoder)) return { config, state: readSafetensors(encoder) }
  const state = readAny(prefixFile(folder))
  return { config: { ...config, hidden: null }, state }
}

/**
 * PaddleNLP's Sequential: 0 the embedding, 1 and 3 linear layers with [in, out]. All keys come first, then all values:
 * the last axis is [2, layers, width] where ours is [layers, 2, width].
 */
function readPaddle(folder: string, { config, layers, kvHeads, headDim }: SavedPrefix): Read {
  const found = readAny(prefixFile(folder)), width = kvHeads * headDim
  const need = (name: string): Tensor => {
    const tensor = found.get(name)
    if (tensor === undefined) throw new ModelError('prefix.state', `expected ${name} in the prefix of ${folder}, got ${[...found.keys()].join(', ') || 'nothing'}; the files are not of one save`, { name, folder })
    return ops.to(tensor, { dtype: 'float32' })
  }
  const alternate = (value: Tensor): Tensor => {
    const front = value.shape.slice(0, -1)
    if (value.shape.at(-1) !== 2 * layers * width) throw new ModelError('prefix.state', `expected ${2 * layers * width} values for each place of the prefix in ${folder}, got ${value.shape.at(-1)}; the prefix is of another model`, { folder, shape: value.shape })
    return ops.reshape(ops.transpose(ops.reshape(value, [...front, 2, layers, width]), front.length, front.length + 1), value.shape)
  }
  if (config.hidden === null) return { config, state: new Map([[embeddingsName, alternate(need('0.weight'))]]) }
  const encoder = 'prompt_encoder.transform'
  return {
    config,
    state: new Map([
      ['prompt_encoder.embedding.weight', need('0.weight')],
      [`${encoder}.0.weight`, ops.contiguous(ops.t(need('1.weight')))], [`${encoder}.0.bias`, need('1.bias')],
      [`${encoder}.2.weight`, ops.contiguous(ops.t(alternate(need('3.weight'))))], [`${encoder}.2.bias`, alternate(need('3.bias'))],
    ]),
  }
}

function readAny(path: string): Map<string, Tensor> { return path.endsWith('.safetensors') ? readSafetensors(path) : readPickled(path) }
