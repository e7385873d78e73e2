import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ModelError } from '../errors'
import { readSafetensorsHeader } from '../models/weights'
import { dialectOf, joinedBy, publishedName } from '../models/weights/paddle/names'
import { pickledTensors } from '../models/weights/pickle/file'

/* Which files an adapter folder holds and how its weights are called; the front reads this too, which never loads the native addon. */

export const configName = 'adapter_config.json'
export const weightsName = 'adapter_model.safetensors'
/** PaddleNLP's settings of a LoRA. */
export const paddleConfigName = 'lora_config.json'
/** PaddleNLP's settings of a prefix, and its weights. */
export const paddlePrefixConfigName = 'prefix_config.json'
export const paddlePrefixWeights = ['prefix_model_state.pdparams', 'peft_model.safetensors'] as const
/** Beside PEFT's file, which holds a prefix's keys and values: the network that makes them, where there is one. */
export const prefixEncoderName = 'prefix_encoder.safetensors'

const weightFiles = { peft: [weightsName, 'adapter_model.bin'], paddle: ['peft_model.safetensors', 'lora_model_state.pdparams'] } as const

/** Who wrote an adapter: PEFT's files, or PaddleNLP's, whose A is [in, r] and B [r, out]. */
export type AdapterLayout = keyof typeof weightFiles

/** The weights file of an adapter. */
export interface AdapterFile { readonly path: string; readonly layout: AdapterLayout; readonly pickled: boolean }

/** Who wrote this folder; `null`: it holds no adapter. */
export function layoutOf(folder: string): AdapterLayout | null {
  if (existsSync(join(folder, configName))) return 'peft'
  return [paddleConfigName, paddlePrefixConfigName].some((name) => existsSync(join(folder, name))) ? 'paddle' : null
}

/** @throws ModelError `lora.files` */
export function adapterFile(folder: string): AdapterFile {
  const layout = layoutOf(folder) ?? 'peft', names = weightFiles[layout]
  const name = names.find((each) => existsSync(join(folder, each)))
  if (name === undefined) throw new ModelError('lora.files', `expected ${names.join(' or ')} in ${folder}, found none; give the folder that an adapter was saved into`, { folder })
  return { path: join(folder, name), layout, pickled: !name.endsWith('.safetensors') }
}

/**
 * The weights file of a prefix.
 * @throws ModelError `prefix.files`
 */
export function prefixFile(folder: string): string {
  const names = existsSync(join(folder, configName)) ? weightFiles.peft : paddlePrefixWeights, name = names.find((each) => existsSync(join(folder, each)))
  if (name === undefined) throw new ModelError('prefix.files', `expected ${names.join(' or ')} in ${folder}, found none; give the folder that a prefix was saved into`, { folder })
  return join(folder, name)
}

/** Shapes by the names that PEFT gives, as PEFT lays them out: A [r, in], B [out, r]. Reads no values. */
export function adapterShapes({ path, layout, pickled }: AdapterFile): Map<string, readonly number[]> {
  const tensors: ReadonlyMap<string, { readonly shape: readonly number[] }> = pickled ? pickledTensors(path) : readSafetensorsHeader(path).tensors
  return new Map([...tensors].map(([name, { shape }]) => layout === 'peft' ? [name, shape] : [peftName(name, path), [...shape].reverse()]))
}

/**
 * `llama.layers.0.self_attn.q_proj.lora_A` as PEFT says it: the published name of the module, with what PEFT puts around.
 * @throws ModelError `lora.kind`
 */
export function peftName(name: string, path: string): string {
  const [, module, side] = /^(.+)\.(lora_[AB])$/.exec(name) ?? []
  const refuse = (why: string): never => { throw new ModelError('lora.kind', `${path} holds ${name}, ${why}; supported are LoRA and rsLoRA of PaddleNLP on single linear layers`, { path, name }) }
  if (module === undefined) return refuse('which is not a LoRA of a linear layer')
  const family = module.split('.')[0]
  let dialect: ReturnType<typeof dialectOf>
  try { dialect = dialectOf({ model_type: family }) } catch { return refuse(`which names no family that is known here (${family})`) }
  // A rename may look for the dot after a module's name.
  const published = publishedName(dialect, `${module}.`).slice(0, -1)
  if (joinedBy(dialect, published) !== null) return refuse('a LoRA of a matrix that PaddleNLP joined')
  return `base_model.model.${published}.${side}.weight`
}
