import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ModelError } from '../errors'
import type { PrefixPlan } from '../plan/plan'
import { configName, layoutOf, paddleConfigName, paddlePrefixConfigName, prefixEncoderName, prefixFile } from './adapter-files'
import { prefixConfig, type PrefixConfig } from './prefix-config'

/* Which kind of adapter a folder holds: read by the front too, which never loads the native addon. */

/** A trained prefix as its folder describes it. */
export interface SavedPrefix {
  readonly config: PrefixConfig
  readonly baseModel: string | null
  readonly layout: 'peft' | 'paddle'
  readonly layers: number
  readonly kvHeads: number
  readonly headDim: number
}

/** What stands in a folder with an adapter: a LoRA of some form, or a prefix. */
export function adapterKind(folder: string): 'lora' | 'prefix' {
  if (existsSync(join(folder, configName))) return parse(join(folder, configName))['peft_type'] === 'PREFIX_TUNING' ? 'prefix' : 'lora'
  return layoutOf(folder) === 'paddle' && existsSync(join(folder, paddlePrefixConfigName)) ? 'prefix' : 'lora'
}

/** Name of the model that an adapter of any kind was trained on; `null`: its folder does not say. */
export function baseModelOf(folder: string): string | null {
  const name = [configName, paddleConfigName, paddlePrefixConfigName].map((file) => join(folder, file)).find((file) => existsSync(file))
  const base = name === undefined ? undefined : parse(name)['base_model_name_or_path']
  return typeof base === 'string' && base !== '' ? base : null
}

/**
 * Reads what PEFT's adapter_config.json, or PaddleNLP's prefix_config.json, says of a prefix.
 * @throws ModelError `prefix.config`, `prefix.kind`
 */
export function readPrefixConfig(folder: string): SavedPrefix {
  const peft = existsSync(join(folder, configName)), path = join(folder, peft ? configName : paddlePrefixConfigName), saved = parse(path)
  const baseModel = baseModelOf(folder)
  const whole = (field: string, fallback?: number): number => {
    const value = saved[field] ?? fallback
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) throw new ModelError('prefix.config', `expected a whole number from 1 up for ${field} in ${path}, got ${JSON.stringify(value ?? null)}; save the prefix again`, { path, field, value: value ?? null })
    return value
  }
  const projection = saved['prefix_projection'] === true
  if (peft) {
    if (whole('num_transformer_submodules', 1) !== 1) throw new ModelError('prefix.kind', `${path} has a prefix of ${saved['num_transformer_submodules']} stacks (an encoder and a decoder); supported are models of one`, { path })
    const kvHeads = whole('num_attention_heads'), width = whole('token_dim')
    return { config: prefixConfig({ tokens: whole('num_virtual_tokens'), hidden: projection ? whole('encoder_hidden_size', width) : null }), baseModel, layout: 'peft', layers: whole('num_layers'), kvHeads, headDim: width / kvHeads }
  }
  const degree = saved['tensor_parallel_degree']
  if (typeof degree === 'number' && degree > 1) throw new ModelError('prefix.kind', `${path} is one of ${degree} tensor-parallel shards; merge them first, as PaddleNLP's save with merge_tensor_parallel does`, { path, degree })
  const heads = whole('num_attention_heads')
  return {
    config: prefixConfig({ tokens: whole('num_prefix_tokens'), hidden: projection ? whole('prefix_projection_hidden_size') : null }), baseModel, layout: 'paddle',
    layers: whole('num_hidden_layers'), kvHeads: saved['multi_query_group_num'] == null ? heads : whole('multi_query_group_num'), headDim: whole('hidden_size') / heads,
  }
}

function parse(path: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  } catch (cause) {
    throw new ModelError('lora.config', `${path} is not JSON: ${(cause as Error).message}; save the adapter again`, { path })
  }
}

/**
 * The prefix in a folder that a plan goes on from, with its network where training goes on through one.
 * @throws ModelError `prefix.kind`, `prefix.config`, `prefix.files`, `prefix.projection`
 */
export function prefixToGoOn({ projection }: Pick<PrefixPlan, 'projection'>, folder: string): SavedPrefix {
  if (adapterKind(folder) !== 'prefix') throw new ModelError('prefix.kind', `expected the folder of a prefix to go on from, got ${folder}, which holds a LoRA or nothing; try .lora({ from: '${folder}' }) / --lora_path`, { folder })
  const saved = readPrefixConfig(folder), network = saved.config.hidden !== null && (saved.layout === 'paddle' || existsSync(join(folder, prefixEncoderName)))
  prefixFile(folder)
  if (projection && !network) throw new ModelError('prefix.projection', `expected a prefix with the network that made it to go on from, got ${folder}, which holds its keys and values alone; leave projection out: they go on training themselves`, { folder })
  return network ? saved : { ...saved, config: { ...saved.config, hidden: null } }
}

/** Weights cannot take a prefix in. */
export function refuseMerge(folder: string): ModelError {
  return new ModelError('prefix.merge', `expected a LoRA to merge, got a prefix in ${folder}: keys and values before each sequence are no change of any weight; keep the folder beside the model and use both (fettle generate MODEL --adapter FOLDER)`, { folder })
}
