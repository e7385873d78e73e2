import * as fs from 'node:fs'
import * as path from 'node:path'
import { scope, type Tensor } from 'fettle-native'
import { saveLoraState } from '../../adapters/peft'
import { LoraAdapter } from '../../adapters/lora'
import type { LoraConfig } from '../../adapters/lora-config'
import { exportAdapter } from '../../export/adapter'
import { writeMergedFolder } from '../../export/parts'
import type { Parameters } from '../../models/parameters'
import { JoinedParts } from '../../models/weights/parts'
import type { Control } from '../../parallel/control'
import { partOf, writeParts } from '../../parallel/parts'
import type { Ranks } from '../../parallel/ranks'
import type { Session } from '../session'

const stem = 'weights'

/** Writes what this rank holds of the trained weights, fp32. */
export function writeWeights(folder: string, parameters: Parameters, ranks: Ranks): void {
  scope(() => writeParts(folder, stem, ranks.rank, parameters.trainable().flatMap((parameter) => partOf(parameter, parameters, parameters.flat!.master, parameter.name, ranks) ?? [])))
}

/**
 * Writes what the ranks trained as other programs load it. Each rank writes its part beside the others', and the first
 * one puts them together, one tensor at a time.
 */
export function writeTogether(session: Session, control: Control, folder: string): void {
  const { adapter, decoder: { parameters }, ranks, modelPath, plan } = session
  fs.mkdirSync(folder, { recursive: true })
  // Of a prefix every rank holds all, and so of an adapter where only rows are divided.
  if (adapter !== null && (!(adapter instanceof LoraAdapter) || (ranks.shape.tp === 1 && ranks.shape.pp === 1))) return exportAdapter(adapter, parameters, folder, plan.model)
  const parts = fs.mkdtempSync(path.join(folder, '.parts-'))
  try {
    control.tell({ kind: 'save', folder: parts, what: 'weights' })
    control.write(() => writeWeights(parts, parameters, ranks))
    const joined = new JoinedParts(parts, stem, ranks.size)
    try {
      if (adapter === null) writeMergedFolder(joined, parameters, modelPath, folder)
      else scope(() => saveLoraState(adapter as LoraAdapter, { config: adapter.config as LoraConfig, tensors: stateOf(joined) }, folder, plan.model))
    } finally {
      joined.close()
    }
  } finally {
    fs.rmSync(parts, { recursive: true, force: true })
  }
}

function stateOf(joined: JoinedParts): Map<string, Tensor> { return new Map(joined.names().map((name) => [name, joined.read(name)])) }
