import type { Parameters } from '../models/parameters'
import { adapterKind } from './kind'
import type { LoraAdapter } from './lora'
import { loadLora, saveLora } from './peft'
import { PrefixAdapter } from './prefix'
import { loadPrefix, savePrefix } from './prefix-files'

/** An adapter of either kind, attached. */
export type Adapter = LoraAdapter | PrefixAdapter

/**
 * Attaches the adapter that a folder holds, whatever its kind.
 * @throws ModelError `lora.*`, `prefix.*`
 */
export function loadAdapter(parameters: Parameters, folder: string): Adapter {
  return adapterKind(folder) === 'prefix' ? loadPrefix(parameters, folder) : loadLora(parameters, folder)
}

/** Writes an adapter in PEFT's layout. */
export function saveAdapter(adapter: Adapter, parameters: Parameters, folder: string, baseModel: string | null): void {
  if (adapter instanceof PrefixAdapter) savePrefix(adapter, parameters, folder, baseModel)
  else saveLora(adapter, folder, baseModel)
}
