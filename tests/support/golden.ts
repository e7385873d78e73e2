import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import type { Tensor } from 'fettle-native'
import { readSafetensors } from 'fettle/dist/models/weights'
import { fixture } from './paths'

/** A reference case: its folder and its tensors. */
export interface GoldenCase { readonly folder: string; readonly io: Map<string, Tensor> }

export function goldenCase(name: string): GoldenCase {
  const folder = fixture('golden', name)
  return { folder, io: readSafetensors(path.join(folder, 'io.safetensors')) }
}

/** Folder of the model that an adapter case was made from. */
export function baseOf(name: string): string {
  const { case: made } = JSON.parse(fs.readFileSync(fixture('golden', name, 'reference.json'), 'utf8')) as { case: { model: string } }
  return fixture('golden', made.model)
}

export function need(tensors: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const found = tensors.get(name)
  assert.ok(found, `${name} is there; there are ${[...tensors.keys()].slice(0, 5).join(', ')}, …`)
  return found
}

/** Largest difference of two tensors' numbers. */
export function largestDifference(a: Tensor, b: Tensor): number {
  assert.deepEqual(a.shape, b.shape)
  const x = a.toFloat32Array(), y = b.toFloat32Array()
  let largest = 0
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, Number.isNaN(x[i] - y[i]) ? Infinity : Math.abs(x[i] - y[i]))
  return largest
}

function norm(values: Float32Array): number { return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0)) }

/**
 * Largest relative error of gradients. Those that are zero in exact arithmetic (key biases) are noise in the reference:
 * an error is compared with the larger of the gradient's own norm and a thousandth of the case's largest.
 */
export function gradientError(pairs: readonly { readonly name: string; readonly seen: Tensor; readonly reference: Tensor }[]): { error: number; name: string } {
  const references = pairs.map(({ reference }) => reference.toFloat32Array())
  const floor = Math.max(...references.map(norm)) / 1000
  let worst = { error: 0, name: '' }
  pairs.forEach(({ name, seen }, i) => {
    const values = seen.toFloat32Array()
    assert.equal(values.length, references[i].length, name)
    const error = norm(values.map((value, k) => value - references[i][k])) / Math.max(norm(references[i]), floor)
    if (!(error <= worst.error)) worst = { error, name }
  })
  return worst
}
