import { readFileSync } from 'node:fs'
import { ModelError } from '../../errors'

/** A JSON file that must hold an object. @throws ModelError `model.json` */
export function readJsonObject(path: string): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch (cause) {
    throw new ModelError('model.json', `${path}: cannot be read (${(cause as NodeJS.ErrnoException).code}); a model folder needs it: download the folder again`, { path }, { cause })
  }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (cause) {
    throw new ModelError('model.json', `${path}: is not valid JSON (${(cause as Error).message}); correct it or download it again`, { path }, { cause })
  }
  throw new ModelError('model.json', `${path}: holds ${text.slice(0, 40)}…, expected a JSON object; correct it or download it again`, { path })
}
