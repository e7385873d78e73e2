import type { GenerationOptions } from '../plan/options'
import type { GenerationPlan, Plan, Precision } from '../plan/plan'
import { readOptions } from '../plan/read'
import { refusal } from '../plan/refuse'
import { generationOf, generationRules } from '../run/generate'
import type { ServePlan } from './serve-plan'
import type { ChatProgress } from './served-voice'
import type { ChatSide } from './state'

/** Options of `chat()`. Of a run each default is the run's own setting. */
export interface ChatOptions extends GenerationOptions {
  /** Most new tokens of an answer. At least 1. Default 256; of a run as in its `.sample()`. */
  readonly maxNewTokens?: number
  /** First message of the conversation. Default: that of the run's `.data()`, else none. */
  readonly system?: string
  /** Who answers. Default: all that the target has; `['tuned']` saves the time and memory of the other. */
  readonly sides?: readonly ChatSide[]
  /** The untouched model to compare with: folder, file, `builtin:…` or hub repository. Default: of an adapter the model that it names, of a run the plan's. */
  readonly base?: string
  /** `'auto'`: the tokenizer's chat template. `'none'`: the last text is continued as it stands. Else the path of a Jinja template. Default `'auto'`. */
  readonly template?: 'auto' | 'none' | (string & {})
  /** Number type to compute in. Not for a live run, whose weights are there. Default `'fp32'`. */
  readonly precision?: Precision
  /** Where to compute. Not for a live run. Default `'auto'`: a GPU where there is one. */
  readonly device?: Plan['device']
  /** CPU threads. Not for a live run. Default: all cores. */
  readonly threads?: number
  /** Called while a model is fetched and read. */
  readonly onProgress?: (progress: ChatProgress) => void
}

/** Options that were checked. */
export interface ReadChatOptions {
  readonly system: string | null
  readonly sides: readonly ChatSide[] | null
  readonly base: string | null
  /** How a model is served. */
  readonly serving: Omit<ServePlan, 'model' | 'adapter'>
  readonly onProgress?: (progress: ChatProgress) => void
  generation(settings: GenerationPlan): GenerationPlan
}

/** @param plan of the run that is asked; `null`: a model without one. @throws PlanError `plan.value`, `plan.unknown` */
export function readChatOptions(options: ChatOptions, plan: Plan | null): ReadChatOptions {
  const { onProgress, sides, ...rest } = options
  if (onProgress !== undefined && typeof onProgress !== 'function') throw refusal('onProgress of chat()', 'a function', onProgress, 'chat(model, { onProgress: ({ stage }) => … })')
  const known: readonly unknown[] = ['base', 'tuned']
  if (sides !== undefined && (!Array.isArray(sides) || sides.length === 0 || !sides.every((side) => known.includes(side)))) {
    throw refusal('sides of chat()', "'base', 'tuned' or both in a list", sides, "chat(target, { sides: ['tuned'] })")
  }
  const { system, base, template, precision, device, threads, ...said } = readOptions<Omit<ChatOptions, 'onProgress' | 'sides'>>('chat', rest, {
    ...generationRules, system: 'data.system', base: 'model', template: 'data.template', precision: 'precision', device: 'device', threads: 'threads',
  })
  return {
    system: system ?? null, sides: sides ?? null, base: base ?? null, onProgress,
    serving: {
      precision: precision ?? plan?.precision ?? 'fp32', device: device ?? plan?.device ?? 'auto', blocks: plan?.blocks ?? 'auto',
      threads: threads ?? plan?.threads ?? null, template: template ?? plan?.data.template ?? 'auto', system: plan?.data.system ?? null,
    },
    generation: (settings) => generationOf(settings, said, 'chat(target, '),
  }
}
