import type { GenerationPlan, Plan } from './plan'

export const defaultGeneration: GenerationPlan = Object.freeze({
  maxNewTokens: 128, minNewTokens: 0, temperature: 0, topK: 0, topP: 1, seed: 0, stop: Object.freeze([]),
})

/** Values of a plan that depend on others until somebody sets them. */
export type Settled = 'learningRate' | 'srcLength' | 'output'

/** The plan of a builder that nothing was said to but the model's name. */
export function defaultPlan(model: string): Plan {
  return {
    version: 1, model, method: 'sft', lora: null,
    data: { path: null, srcLength: 1024, maxLength: 2048, template: 'auto', system: null },
    precision: 'fp32', device: 'auto', blocks: 'auto',
    optimizer: { learningRate: 3e-5, weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 },
    schedule: { type: 'linear', warmupSteps: 0, warmupRatio: 0 },
    batch: { size: 8, evalSize: 8, accumulate: 1 },
    epochs: 3, steps: null,
    evaluate: { by: 'no' },
    sample: { cadence: { by: 'no' }, prompts: [], generation: defaultGeneration },
    save: { cadence: { by: 'epoch' }, keep: 2 },
    logEvery: 1, train: true, evalAtEnd: false, seed: 42,
    output: defaultOutput(model, 'sft'), overwrite: false, resume: null,
    mesh: { dp: 1, sharding: { degree: 1, stage: 0 }, pp: 1, tp: 1 },
    threads: null,
  }
}

/** Fills in what depends on other values: learning rate by method, source length by room, output by name. */
export function settle(plan: Plan, given: ReadonlySet<Settled>): Plan {
  const { data, optimizer } = plan
  return {
    ...plan,
    optimizer: given.has('learningRate') ? optimizer : { ...optimizer, learningRate: plan.method === 'lora' ? 3e-4 : 3e-5 },
    // Half of a short row stays for the answer.
    data: given.has('srcLength') ? data : { ...data, srcLength: Math.max(1, Math.min(1024, Math.floor(data.maxLength / 2))) },
    output: given.has('output') ? plan.output : defaultOutput(plan.model, plan.method),
  }
}

/** `output/<last part of the model's name>-<method>`. */
export function defaultOutput(model: string, method: string): string {
  const last = model.replace(/[\\/]+$/, '').split(/[\\/:]/).at(-1) ?? ''
  const name = last.replace(/\.(gguf|safetensors|json)$/i, '').replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[.-]+/, '')
  return `output/${name || 'model'}-${method}`
}
