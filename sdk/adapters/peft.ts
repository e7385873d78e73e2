import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ops, scope, type Tensor } from 'fettle-native'
import type { Parameters } from '../models/parameters'
import { readSafetensors, writeJsonAtomically, writeSafetensors } from '../models/weights'
import { readPickled } from '../models/weights/pickle'
import { adapterFile, configName, peftName, weightsName } from './adapter-files'
import { attachLora, type LoraAdapter } from './lora'
import type { LoraConfig } from './lora-config'
import { modulesOf, readLoraConfig } from './peft-config'

export { modulesOf, readLoraConfig, type SavedLora } from './peft-config'

/**
 * Attaches a saved adapter. Which modules it changes is what its weights file holds, so that every form of PEFT's
 * `target_modules` (list, pattern, `layers_to_transform`, exclusions) comes out right. It may be of PEFT or of PaddleNLP.
 * @param changes what a run that goes on from it does in another way
 * @throws ModelError `lora.*`
 */
export function loadLora(parameters: Parameters, folder: string, changes: Partial<Pick<LoraConfig, 'dropout'>> = {}): LoraAdapter {
  return scope(() => {
    const { config, tensors, path } = readAdapterState(folder)
    const state = canonical(tensors, parameters)
    return attachLora(parameters, { ...config, ...changes, targets: modulesOf(state, path) }, { state })
  })
}

/** An adapter folder as it was read: settings, and tensors by the names that PEFT gives, from the weights file `path`. */
export interface AdapterState { readonly config: LoraConfig; readonly tensors: ReadonlyMap<string, Tensor>; readonly path: string }

/**
 * Reads settings and weights of an adapter folder. Call inside a scope.
 * @throws ModelError `lora.files`, `lora.config`, `lora.kind`
 */
export function readAdapterState(folder: string): AdapterState {
  const { config } = readLoraConfig(folder)
  const { path, layout, pickled } = adapterFile(folder)
  const stored = pickled ? readPickled(path) : readSafetensors(path)
  const tensors = layout === 'peft' ? stored : new Map([...stored].map(([name, value]) => [peftName(name, path), ops.contiguous(ops.t(value))]))
  return { config, tensors, path }
}

/** Writes an adapter as PEFT does: adapter_model.safetensors in fp32 and adapter_config.json. */
export function saveLora(adapter: LoraAdapter, folder: string, baseModel: string | null): void {
  scope(() => saveLoraState(adapter, adapter.saved(), folder, baseModel))
}

/** The same with the values of all ranks, where each holds a part. */
export function saveLoraState(adapter: LoraAdapter, saved: ReturnType<LoraAdapter['saved']>, folder: string, baseModel: string | null): void {
  mkdirSync(folder, { recursive: true })
  const { config } = saved
  writeSafetensors(join(folder, weightsName), saved.tensors, { format: 'pt' })
  writeJsonAtomically(join(folder, configName), {
    peft_type: 'LORA', task_type: 'CAUSAL_LM', base_model_name_or_path: baseModel, inference_mode: true,
    r: config.rank, lora_alpha: config.alpha, lora_dropout: config.dropout, bias: 'none', fan_in_fan_out: false,
    target_modules: targetModules(adapter), modules_to_save: null, init_lora_weights: true,
    use_rslora: config.rankStabilized, use_dora: config.decomposed,
    rank_pattern: config.rankPattern, alpha_pattern: config.alphaPattern,
  })
}

/** PEFT names modules as the base model's class does: a body without head has no `model.` of its own. */
function canonical(state: ReadonlyMap<string, Tensor>, parameters: Parameters): Map<string, Tensor> {
  const body = parameters.names.embedding.split('.')[0]
  const bare = ![...state.keys()].some((name) => name.startsWith(`base_model.model.${body}.`))
  return new Map([...state].map(([name, value]) => [bare ? name.replace('base_model.model.', `base_model.model.${body}.`) : name, value]))
}

/** Short names when they say it all, full names when only some layers are adapted. */
function targetModules(adapter: LoraAdapter): string[] {
  const { modules, adaptable } = adapter
  const last = (name: string): string => name.slice(name.lastIndexOf('.') + 1)
  const short = [...new Set(modules.map(last))]
  return adaptable.filter((name) => short.includes(last(name))).length === modules.length ? short : [...modules]
}
