import { existsSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { adapterFile, adapterShapes, prefixFile } from '../adapters/adapter-files'
import { adapterKind, readPrefixConfig } from '../adapters/kind'
import { modulesOf, readLoraConfig } from '../adapters/peft-config'
import { metricsName } from '../run/folder'
import { newest, readLog } from '../run/read-log'
import { here } from '../run/remote/address'
import { manifestName, readManifest } from '../train/manifest'
import { adapterView, type TextAndHtml } from '../views/objects'
import { Shown } from './shown'
import type { AdapterFacts } from './types'

/** A LoRA adapter or a prefix as its folder describes it. As a cell's last value it shows a table. */
export interface AdapterInfo extends AdapterFacts {}
// The fields are those of AdapterFacts, said once.
export class AdapterInfo extends Shown {
  /** @internal Use `adapter(folder)`. */
  constructor(facts: AdapterFacts) {
    super()
    Object.assign(this, facts)
    Object.freeze(this)
  }

  protected override view(): TextAndHtml { return adapterView(this) }
}

/**
 * Describes an adapter (LoRA or prefix) in PEFT's layout or PaddleNLP's, such as a run's output folder or one of its checkpoints. Reads
 * the configuration and the header of the weights.
 *
 * @param source The folder, or a run that has written it.
 * @throws ModelError `lora.files`, `lora.config`, `lora.kind`, `prefix.files`, `prefix.config`, `prefix.kind`; WorkerError `run.elsewhere` for a run on another host
 */
export async function adapter(source: string | { readonly dir: string }): Promise<AdapterInfo> {
  const folder = resolve(here(typeof source === 'string' ? source : source.dir))
  if (adapterKind(folder) === 'prefix') return prefixInfo(folder)
  const { config, baseModel } = readLoraConfig(folder)
  const file = adapterFile(folder), shapes = adapterShapes(file)
  const modules = modulesOf(shapes, file.path)
  return new AdapterInfo({
    path: folder, base: baseModel, rank: config.rank, alpha: config.alpha, dropout: config.dropout,
    kind: config.decomposed ? 'DoRA' : config.rankStabilized ? 'rsLoRA' : 'LoRA', tokens: null,
    targets: [...new Set(modules.map((name) => name.slice(name.lastIndexOf('.') + 1)))], modules: modules.length,
    layers: new Set(modules.map((name) => /\.(\d+)\./.exec(name)?.[1] ?? name)).size,
    parameters: [...shapes.values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0),
    bytes: statSync(file.path).size, steps: stepsOf(folder),
  })
}

/** Its values are its keys and values, whatever made them. */
function prefixInfo(folder: string): AdapterInfo {
  const { config: { tokens }, baseModel, layers, kvHeads, headDim } = readPrefixConfig(folder)
  return new AdapterInfo({
    path: folder, base: baseModel, kind: 'prefix', tokens, rank: null, alpha: null, dropout: 0, targets: [], modules: 0, layers,
    parameters: tokens * layers * 2 * kvHeads * headDim, bytes: statSync(prefixFile(folder)).size, steps: stepsOf(folder),
  })
}

/** Steps by the checkpoint's manifest, else by the log of the run that wrote the final adapter here. */
function stepsOf(folder: string): number | null {
  if (existsSync(join(folder, manifestName))) return readManifest(folder).step
  const saved = newest(readLog(join(folder, metricsName)), (event) => event.type === 'saved' && event.final)
  return saved?.type === 'saved' ? saved.atStep : null
}
