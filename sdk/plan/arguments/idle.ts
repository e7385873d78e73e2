import type { Arguments } from './read'

interface Idle {
  readonly fields: readonly string[]
  readonly holds: (args: Arguments) => boolean
  readonly why: (args: Arguments) => string
}

const not = (name: string, ...values: unknown[]) => (args: Arguments): boolean => !values.includes(args.get(name))
const because = (name: string) => (args: Arguments): string => `${name} is ${JSON.stringify(args.get(name))}`

/** Settings that qualify another one which is off. */
const idle: readonly Idle[] = [
  { fields: ['lora_rank', 'lora_alpha', 'lora_dropout', 'lora_target_modules'], holds: not('lora', true), why: because('lora') },
  { fields: ['warmup_steps', 'warmup_ratio'], holds: (args) => args.get('lr_scheduler_type') === 'constant', why: (args) => `${because('lr_scheduler_type')(args)} (constant_with_warmup rises first)` },
  { fields: ['eval_steps'], holds: not('evaluation_strategy', 'steps'), why: because('evaluation_strategy') },
  { fields: ['save_steps'], holds: not('save_strategy', 'steps'), why: because('save_strategy') },
  { fields: ['sample_steps'], holds: not('sample_strategy', 'steps'), why: because('sample_strategy') },
]

/** One sentence for each argument that was set and has no effect beside the others. */
export function idleNotes(args: Arguments): string[] {
  const set = new Set(args.changed().map(({ field }) => field.name))
  return idle.filter(({ holds }) => holds(args)).flatMap(({ fields, why }) => fields.filter((name) => set.has(name)).map((name) => `${name} changes nothing: ${why(args)}`))
}
