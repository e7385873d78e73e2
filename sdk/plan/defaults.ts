import type { GenerationPlan, LoraPlan, MeshPlan, Plan, PrefixPlan, QuantizePlan, UploadPlan } from './plan'

export const defaultGeneration: GenerationPlan = Object.freeze({
  maxNewTokens: 128, minNewTokens: 0, temperature: 0, topK: 0, topP: 1, seed: 0, stop: Object.freeze([]),
})

/** `.lora()` alone. */
export const defaultLora: LoraPlan = Object.freeze({
  rank: 8, alpha: 16, dropout: 0, targets: 'all-linear', rsLora: false, dora: false, pissa: false, plusRatio: 1, rankPattern: Object.freeze({}), alphaPattern: Object.freeze({}), from: null,
})

/** `.prefix()` alone. */
export const defaultPrefix: PrefixPlan = Object.freeze({ tokens: 128, projection: false, projectionSize: null, from: null })

/** `.quantize()` alone. */
export const defaultQuantize: QuantizePlan = Object.freeze({ algorithm: 'nf4', blockSize: 64, doubleQuant: false, doubleQuantBlockSize: 256 })

/** One rank. */
export const defaultMesh: MeshPlan = Object.freeze({ dp: 1, sharding: Object.freeze({ degree: 1, stage: 0 }), pp: 1, virtual: 1, tp: 1, sequenceParallel: false, devices: null })

/** `.upload(repository)` alone. */
export const defaultUpload: UploadPlan = Object.freeze({ to: 'huggingface', repository: 'me/my-run', private: true, license: null })

/** Alpha that nobody set: the reference's, a scale of 2, and with rsLoRA 4 / √rank. */
export function defaultAlpha(rank: number, rsLora: boolean): number { return rsLora ? 4 : 2 * rank }

/** Values of a plan that depend on others until somebody sets them. */
export type Settled = 'learningRate' | 'srcLength' | 'output' | 'evaluationTokens'

const learningRates: Readonly<Record<Plan['method'], number>> = { sft: 3e-5, lora: 3e-4, prefix: 3e-2 }

/** The plan of a builder that nothing was said to but the model's name. */
export function defaultPlan(model: string): Plan {
  return {
    version: 1, model, method: 'sft', lora: null, prefix: null, quantize: null, neftune: null,
    data: { path: null, srcLength: 1024, maxLength: 2048, template: 'auto', system: null, packing: false, lazy: false, shuffleBuffer: 10_000, seed: null, dropLast: false },
    precision: 'fp32', fp16: { level: 'O1', lossScale: 32768 }, recompute: 'none', device: 'auto', blocks: 'auto',
    optimizer: { learningRate: 3e-5, weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 },
    schedule: { type: 'linear', warmupSteps: 0, warmupRatio: 0, cycles: 0.5, endRate: 1e-7, power: 1 },
    batch: { size: 8, evalSize: 8, accumulate: 1, tokens: null },
    epochs: 3, steps: null,
    evaluate: { by: 'no' },
    evaluation: { generate: false, saveOutput: false, generation: { ...defaultGeneration, maxNewTokens: 1024 } },
    best: { metric: null, greaterIsBetter: null, load: false, patience: null, minDelta: 0 },
    sample: { cadence: { by: 'no' }, prompts: [], generation: defaultGeneration },
    save: { cadence: { by: 'epoch' }, keep: 2 }, upload: null,
    logEvery: 1, train: true, evalAtEnd: false, predict: false, seed: 42,
    output: defaultOutput(model, 'sft'), overwrite: false, resume: null, resumeData: 'continue',
    mesh: defaultMesh, deterministic: false, cudaGraphs: false, restart: 0,
    threads: null, progress: true, report: [],
  }
}

/** Fills in what depends on other values: learning rate by method, source length and room for an answer by the row's, output by name. */
export function settle(plan: Plan, given: ReadonlySet<Settled>): Plan {
  const { optimizer, evaluation } = plan
  // Half of a short row stays for the answer.
  const data = given.has('srcLength') ? plan.data : { ...plan.data, srcLength: Math.max(1, Math.min(1024, Math.floor(plan.data.maxLength / 2))) }
  const maxNewTokens = Math.max(1, data.maxLength - data.srcLength)
  return {
    ...plan, data,
    optimizer: given.has('learningRate') ? optimizer : { ...optimizer, learningRate: learningRates[plan.method] },
    evaluation: given.has('evaluationTokens') ? evaluation : { ...evaluation, generation: { ...evaluation.generation, maxNewTokens } },
    output: given.has('output') ? plan.output : defaultOutput(plan.model, plan.method),
  }
}

/** `output/<last part of the model's name>-<method>`. */
export function defaultOutput(model: string, method: string): string {
  const last = model.replace(/[\\/]+$/, '').split(/[\\/:]/).at(-1) ?? ''
  const name = last.replace(/\.(gguf|safetensors|json)$/i, '').replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[.-]+/, '')
  return `output/${name || 'model'}-${method}`
}
