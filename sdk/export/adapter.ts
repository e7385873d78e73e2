import * as fs from 'node:fs'
import * as path from 'node:path'
import { saveAdapter, type Adapter } from '../adapters/adapter'
import type { Parameters } from '../models/parameters'

/**
 * Writes a LoRA or a prefix as PEFT does: `adapter_model.safetensors` (fp32) and `adapter_config.json`. Python's
 * `PeftModel.from_pretrained(base, folder)` and `fettle generate --adapter` load it.
 * @param model name of the base, for `base_model_name_or_path`; a path is written as an absolute one, so that it holds from any folder
 */
export function exportAdapter(adapter: Adapter, parameters: Parameters, folder: string, model: string): void {
  saveAdapter(adapter, parameters, folder, fs.existsSync(model) ? path.resolve(model) : model)
}
