import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ModelError } from '../errors'
import { configName, layoutOf, paddleConfigName, weightsName } from './adapter-files'
import { loraConfig, type LoraConfig } from './lora-config'

/* What an adapter folder says without its weights: read by the front too, which never loads the native addon. */

/** Whether a folder is an adapter that stands for its base model with it, and no model of its own. */
export function isAdapterFolder(folder: string): boolean {
  return layoutOf(folder) !== null && !existsSync(join(folder, 'config.json'))
}

/** What an adapter folder says of itself. */
export interface SavedLora { readonly config: LoraConfig; readonly baseModel: string | null }

/**
 * Reads adapter_config.json in PEFT's layout, or lora_config.json in PaddleNLP's. Kinds of adapters and options that would change the result and are not
 * known are refused by name.
 * @throws ModelError `lora.files`, `lora.config`, `lora.kind`
 */
export function readLoraConfig(folder: string): SavedLora {
  const path = join(folder, configName), layout = layoutOf(folder)
  if (layout === 'paddle') return readPaddleConfig(join(folder, paddleConfigName))
  if (layout === null) {
    throw new ModelError('lora.files', `expected ${configName} in ${folder}, found none; give the folder that holds ${configName} and ${weightsName}`, { folder })
  }
  const saved = parse(path)
  refuseUnknown(saved, path)
  const number = (field: string, fallback: number): number => (typeof saved[field] === 'number' ? (saved[field] as number) : fallback)
  const rank = number('r', 8)
  return {
    config: loraConfig({
      rank, alpha: number('lora_alpha', 8), dropout: number('lora_dropout', 0),
      rankStabilized: saved['use_rslora'] === true, decomposed: saved['use_dora'] === true,
      rankPattern: pattern(saved['rank_pattern']), alphaPattern: pattern(saved['alpha_pattern']),
    }),
    baseModel: typeof saved['base_model_name_or_path'] === 'string' ? saved['base_model_name_or_path'] : null,
  }
}

/** PaddleNLP's: α / r, or α / √r with rslora. What it adds beside is refused by name. */
function readPaddleConfig(path: string): SavedLora {
  const saved = parse(path)
  const unknown = ['pissa', 'do_qat', 'lora_use_mixer', 'use_mora', 'trainable_bias', 'trainable_modules', 'enable_lora_list'].find((flag) => saved[flag] !== undefined && saved[flag] !== null && saved[flag] !== false && !(Array.isArray(saved[flag]) && (saved[flag] as unknown[]).length === 0))
  const refuse = (what: string): never => { throw new ModelError('lora.kind', `${path} asks for ${what}, which is not supported; supported are LoRA and rsLoRA of PaddleNLP on single linear layers`, { path, what }) }
  if (unknown !== undefined) refuse(`${unknown} ${JSON.stringify(saved[unknown])}`)
  if (typeof saved['tensor_parallel_degree'] === 'number' && saved['tensor_parallel_degree'] > 1) refuse(`tensor_parallel_degree ${saved['tensor_parallel_degree']}`)
  const number = (field: string, fallback: number): number => (typeof saved[field] === 'number' ? saved[field] : fallback)
  return {
    config: loraConfig({ rank: number('r', 8), alpha: number('lora_alpha', 8), dropout: number('lora_dropout', 0), rankStabilized: saved['rslora'] === true }),
    baseModel: typeof saved['base_model_name_or_path'] === 'string' ? saved['base_model_name_or_path'] : null,
  }
}

type Saved = Record<string, unknown>

function parse(path: string): Saved {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Saved
  } catch (cause) {
    throw new ModelError('lora.config', `${path} is not JSON: ${(cause as Error).message}; save the adapter again`, { path })
  }
}

function refuseUnknown(saved: Saved, path: string): void {
  const refuse = (what: string): never => { throw new ModelError('lora.kind', `${path} asks for ${what}, which is not supported; supported are LoRA, rsLoRA and DoRA on linear layers`, { path, what }) }
  if (saved['peft_type'] !== 'LORA') refuse(`peft_type ${JSON.stringify(saved['peft_type'] ?? null)}`)
  if (saved['bias'] !== undefined && saved['bias'] !== null && saved['bias'] !== 'none') refuse(`bias ${JSON.stringify(saved['bias'])}`)
  const flags = ['modules_to_save', 'trainable_token_indices', 'target_parameters', 'layer_replication', 'fan_in_fan_out', 'lora_bias', 'use_qalora', 'use_bdlora', 'alora_invocation_tokens']
  for (const flag of flags) {
    const value = saved[flag]
    if (value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0)) continue
    refuse(`${flag} ${JSON.stringify(value)}`)
  }
}

function pattern(value: unknown): Record<string, number> { return typeof value === 'object' && value !== null ? (value as Record<string, number>) : {} }

/**
 * Modules that the weights of a file adapt.
 * @throws ModelError `lora.kind` for anything but a LoRA of a linear layer, `lora.files` for none at all
 */
export function modulesOf(state: { keys(): Iterable<string> }, path: string): string[] {
  const modules = new Set<string>()
  for (const name of state.keys()) {
    const module = /^base_model\.model\.(.+)\.(?:lora_A\.weight|lora_B\.weight|lora_magnitude_vector)$/.exec(name)?.[1]
    if (module === undefined) throw new ModelError('lora.kind', `${path} holds ${name}, which is not a LoRA of a linear layer; supported are LoRA, rsLoRA and DoRA on linear layers`, { path, name })
    modules.add(module)
  }
  if (modules.size === 0) throw new ModelError('lora.files', `${path} holds no weights; save the adapter again`, { path })
  return [...modules]
}
