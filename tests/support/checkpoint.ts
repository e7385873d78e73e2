import * as fs from 'node:fs'
import * as path from 'node:path'
import type { Tensor } from 'fettle-native'
import { readSafetensors, writeSafetensors } from 'fettle/dist/models/weights'
import { fixture } from './paths'

/** Writes a golden model into `folder` with another config or other weights. Call inside a scope. */
export function changedModel(
  folder: string, golden: string,
  change: { readonly config?: (config: Record<string, unknown>) => void; readonly weights?: (weights: Map<string, Tensor>) => Map<string, Tensor> },
): string {
  const config = JSON.parse(fs.readFileSync(fixture('golden', golden, 'config.json'), 'utf8')) as Record<string, unknown>
  change.config?.(config)
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config))
  const weights = readSafetensors(fixture('golden', golden, 'model.safetensors'))
  writeSafetensors(path.join(folder, 'model.safetensors'), change.weights?.(weights) ?? weights)
  return folder
}
