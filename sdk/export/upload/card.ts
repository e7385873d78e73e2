import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readJsonObject } from '../../models/weights/json'

/** Spellings that Hugging Face's cards have for common licences, by the name that people write. */
const identifiers: Readonly<Record<string, string>> = { 'apache license 2.0': 'apache-2.0', 'mit license': 'mit' }

/**
 * The README.md of a folder that has none: licence, base model and library in the form that Hugging Face reads
 * (huggingface.co/docs/hub/model-cards).
 */
export function modelCard(folder: string, repository: string, license: string | null): string {
  const adapter = existsSync(join(folder, 'adapter_config.json')) ? readJsonObject(join(folder, 'adapter_config.json')) : null
  const base = adapter?.base_model_name_or_path
  const lines = [
    ...(license === null ? [] : [`license: ${JSON.stringify(identifiers[license.toLowerCase()] ?? license)}`]),
    ...(typeof base === 'string' && /^[\w.-]+\/[\w.-]+$/.test(base) ? [`base_model: ${base}`] : []),
    `library_name: ${adapter === null ? 'transformers' : 'peft'}`, 'tags:', '- fettle',
  ]
  return `---\n${lines.join('\n')}\n---\n\n# ${repository.split('/').at(-1)}\n\nFine-tuned with Fettle.\n`
}
