import * as path from 'node:path'
import { pathToFileURL } from 'node:url'
import { repoRoot } from './paths'

/** A module of tests/bench, which is plain JavaScript: its exports have no types. */
export async function benchModule(name: string): Promise<any> {
  return import(pathToFileURL(path.join(repoRoot, 'tests', 'bench', name)).href)
}

/** A CPU as `machine()` tells it. */
export function cpuOf(...features: string[]) { return { cpu: 'Some CPU', cores: 2, memoryGiB: 24, features } }

/** A run of a side in training: one step a value of `seconds`, 100 tokens each, 40 supervised. */
export function trainingRun(side: string, seconds: readonly number[], { loss = 5, peakMiB = 1000, firstStep = 2 } = {}) {
  return { side, firstStep, peakMiB, form: 'fp32', steps: seconds.map((s, i) => ({ step: i + 1, tokens: 100, supervised: 40, seconds: s, loss: loss - i * 0.1, faults: 7 })) }
}

/** A run of a side in generation. */
export function generationRun(side: string, seconds: readonly number[], ids: readonly (readonly number[])[], firstToken = 0.1) {
  return { side, firstStep: 2, peakMiB: 500, form: 'fp32', steps: seconds.map((s, i) => ({ step: i + 1, tokens: 64, seconds: s, firstToken, ids, faults: 3 })) }
}
