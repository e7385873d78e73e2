import { exportAdapter } from '../export/adapter'
import { exportModel } from '../export/folder'
import type { Session } from './session'

/**
 * Writes what the run trained into a folder that other programs load as it is: an adapter in PEFT's layout, or the whole
 * model as a Hugging Face folder with its tokenizer.
 */
export function writeTrained({ adapter, decoder, modelPath, plan }: Session, folder: string): void {
  if (adapter !== null) exportAdapter(adapter, decoder.parameters, folder, plan.model)
  else exportModel(decoder.parameters, modelPath, folder)
}
