import * as fs from 'node:fs'
import * as path from 'node:path'
import type { LoraAdapter } from '../adapters/lora'
import { saveLora } from '../adapters/peft'

/**
 * Writes a LoRA adapter as PEFT does: `adapter_model.safetensors` (fp32) and `adapter_config.json`. Python's
 * `PeftModel.from_pretrained(base, folder)` and `fettle generate --adapter` load it.
 * @param model name of the base, for `base_model_name_or_path`; a path is written as an absolute one, so that it holds from any folder
 */
export function exportAdapter(adapter: LoraAdapter, folder: string, model: string): void {
  saveLora(adapter, folder, fs.existsSync(model) ? path.resolve(model) : model)
}
