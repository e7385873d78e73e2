import * as fs from 'node:fs'
import * as path from 'node:path'
import type { DType } from 'fettle-native'
import { PlanError } from '../errors'
import type { Weights } from '../models/weights'
import type { Precision } from '../plan/plan'

const types: Readonly<Record<Precision, DType>> = { fp32: 'float32', bf16: 'bfloat16', fp16: 'float16' }

/** The number type that weights are written in; `undefined`: each its own. */
export function savedType(weights: Weights, dtype: Precision | undefined): DType | undefined {
  if (dtype !== undefined) return types[dtype]
  return weights.kind === 'gguf' ? 'bfloat16' : undefined
}

/** @throws PlanError `output.folder` when `output` is the folder of an input */
export function refuseInputs(output: string, inputs: readonly string[], what: string): void {
  const target = path.resolve(output)
  for (const input of inputs) {
    const folder = path.resolve(fs.statSync(input, { throwIfNoEntry: false })?.isDirectory() ? input : path.dirname(input))
    if (folder === target) throw new PlanError('output.folder', `expected a folder of its own for ${what}, got ${target}, which holds ${input}; give another output folder`, { output: target, input })
  }
}
