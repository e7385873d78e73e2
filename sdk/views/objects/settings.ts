import { defaultAlpha, defaultLora, defaultPlan, defaultPrefix, settle } from '../../plan/defaults'
import type { Cadence, GenerationPlan, Plan } from '../../plan/plan'
import { rateText, whole } from '../format'

/** One setting of a plan, as it is read. */
export interface Setting {
  readonly name: string
  readonly value: string
  /** Differs from what a fresh builder would have. */
  readonly changed: boolean
}

export interface SettingGroup { readonly title: string; readonly settings: readonly Setting[] }

export function cadenceText(cadence: Cadence): string {
  if (cadence.by === 'no') return 'never'
  return cadence.by === 'epoch' ? "at each epoch's end" : cadence.every === 1 ? 'each step' : `each ${whole(cadence.every)} steps`
}

const yes = (value: boolean): string => value ? 'yes' : 'no'

function warmupText({ schedule }: Plan): string {
  if (schedule.warmupSteps > 0) return `${whole(schedule.warmupSteps)} steps`
  return schedule.warmupRatio > 0 ? `${Number((schedule.warmupRatio * 100).toPrecision(4))}% of all steps` : 'none'
}

function samplingText(g: GenerationPlan): string {
  return [g.temperature === 0 ? 'greedy' : `temperature ${g.temperature}, top-k ${g.topK || 'off'}, top-p ${g.topP}, seed ${g.seed}`, `up to ${whole(g.maxNewTokens)} tokens`,
    ...(g.minNewTokens > 0 ? [`at least ${g.minNewTokens}`] : []), ...(g.stop.length > 0 ? [`stops at ${g.stop.map((text) => JSON.stringify(text)).join(', ')}`] : [])].join(', ')
}

type Reader = readonly [name: string, read: (plan: Plan) => string | null]

const groups: readonly (readonly [title: string, readers: readonly Reader[]])[] = [
  ['What trains', [
    ['model', (p) => p.model], ['method', (p) => ({ lora: 'LoRA', prefix: 'prefix', sft: 'all weights' })[p.method]],
    ['prefix', (p) => p.prefix && `${whole(p.prefix.tokens)} tokens`], ['projection', (p) => p.prefix && (p.prefix.projection ? `through ${p.prefix.projectionSize === null ? 'the hidden size' : whole(p.prefix.projectionSize)}` : 'no')],
    ['rank', (p) => p.lora && String(p.lora.rank)], ['alpha', (p) => p.lora && String(p.lora.alpha)], ['dropout', (p) => p.lora && String(p.lora.dropout)],
    ['targets', (p) => p.lora && (typeof p.lora.targets === 'string' ? p.lora.targets : p.lora.targets.join(', '))],
    ['resume', (p) => p.resume === null ? 'no' : p.resume === true ? 'newest checkpoint' : p.resume],
  ]],
  ['Data', [
    ['path', (p) => p.data.path ?? 'none yet'], ['longest source', (p) => `${whole(p.data.srcLength)} tokens`], ['longest row', (p) => `${whole(p.data.maxLength)} tokens`],
    ['template', (p) => p.data.template], ['system', (p) => p.data.system ?? 'none'],
  ]],
  ['Length', [
    ['train', (p) => yes(p.train)], ['steps', (p) => p.steps === null ? null : whole(p.steps)], ['epochs', (p) => p.steps === null ? String(p.epochs) : null],
    ['batch', (p) => `${whole(p.batch.size)} rows`], ['accumulate', (p) => `${whole(p.batch.accumulate)} batch${p.batch.accumulate === 1 ? '' : 'es'}`],
  ]],
  ['Optimizer', [
    ['learning rate', (p) => rateText(p.optimizer.learningRate)], ['schedule', (p) => p.schedule.type], ['warm-up', warmupText],
    ['weight decay', (p) => String(p.optimizer.weightDecay)], ['clip norm', (p) => p.optimizer.maxGradNorm === 0 ? 'off' : String(p.optimizer.maxGradNorm)],
    ['AdamW', (p) => `β ${p.optimizer.beta1}, ${p.optimizer.beta2}, ε ${p.optimizer.epsilon}`],
  ]],
  ['On the way', [
    ['evaluate', (p) => cadenceText(p.evaluate)], ['evaluate at end', (p) => yes(p.evalAtEnd)], ['evaluation batch', (p) => `${whole(p.batch.evalSize)} rows`],
    ['sample', (p) => cadenceText(p.sample.cadence)], ['prompts', (p) => p.sample.prompts.length === 0 ? 'first rows of the data' : p.sample.prompts.map((text) => JSON.stringify(text)).join(', ')],
    ['answers', (p) => samplingText(p.sample.generation)], ['save', (p) => cadenceText(p.save.cadence)],
    ['keep', (p) => p.save.keep === null ? 'all checkpoints' : `${p.save.keep} checkpoint${p.save.keep === 1 ? '' : 's'}`], ['show', (p) => cadenceText({ by: 'steps', every: p.logEvery })],
  ]],
  ['Machine', [
    ['precision', (p) => p.precision], ['device', (p) => p.device], ['blocks', (p) => p.blocks], ['threads', (p) => p.threads === null ? 'all cores' : whole(p.threads)],
    ['seed', (p) => String(p.seed)], ['output', (p) => p.output], ['overwrite', (p) => yes(p.overwrite)],
  ]],
]

/** What a fresh builder would have where this plan's model, method, row length, batch and evaluation are given: what follows from them is no setting of its own. */
function fresh(plan: Plan): Plan {
  const base = defaultPlan(plan.model)
  return settle({ ...base, method: plan.method, prefix: plan.prefix && defaultPrefix, lora: plan.lora && { ...defaultLora, alpha: defaultAlpha(plan.lora.rank, plan.lora.rsLora) }, evalAtEnd: plan.evaluate.by !== 'no', batch: { ...base.batch, evalSize: plan.batch.size }, data: { ...base.data, maxLength: plan.data.maxLength } }, new Set())
}

/** Always told: no default says what they are. */
const given = new Set(['model', 'path'])

/** All settings of a plan in groups, changed ones marked. */
export function settingGroups(plan: Plan): SettingGroup[] {
  const start = fresh(plan)
  // The row's length decides the start's other lengths, so it is compared with the one of a bare builder.
  const bare = defaultPlan(plan.model)
  return groups.map(([title, readers]) => ({
    title,
    settings: readers.flatMap(([name, read]): Setting[] => {
      const value = read(plan)
      if (value === null) return []
      const usual = name === 'longest row' || name === 'method' ? read(bare) : read(start)
      return [{ name, value, changed: given.has(name) || value !== usual }]
    }),
  }))
}
