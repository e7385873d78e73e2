import { ModelError } from '../errors'

/**
 * Which modules get an adapter: `all-linear`; names or globs (`*`, `?`), which the end of a full name meets at a dot;
 * or one regular expression that a full name matches from end to end, as PEFT reads a text.
 */
export type Targets = string | readonly string[]

/**
 * The modules that are meant, in their order.
 * @param all full names of those that can be adapted
 * @throws ModelError `lora.target` when a name or pattern meets none
 */
export function chooseTargets(targets: Targets, all: readonly string[]): string[] {
  if (targets === 'all-linear') return [...all]
  const patterns = typeof targets === 'string' ? [{ source: targets, test: whole(targets) }] : targets.map((name) => ({ source: name, test: glob(name) }))
  const idle = patterns.filter(({ test }) => !all.some((module) => test.test(module))).map(({ source }) => source)
  if (idle.length > 0 || patterns.length === 0) throw refusal(idle, all)
  return all.filter((module) => patterns.some(({ test }) => test.test(module)))
}

function refusal(idle: readonly string[], all: readonly string[]): ModelError {
  const known = [...new Set(all.map((module) => module.slice(module.lastIndexOf('.') + 1)))]
  return new ModelError('lora.target', `expected "all-linear" or some of ${known.join(', ')} as LoRA targets (names, globs as layers.0.*, or one regular expression for names such as ${all[0]}), got ${idle.length > 0 ? idle.join(', ') : 'none'}`, { unknown: idle, known })
}

function whole(pattern: string): RegExp { return new RegExp(`^(?:${pattern})$`) }

/** A name is a glob without stars. A star goes across dots: `layers.0.*` is all of layer 0. */
function glob(name: string): RegExp {
  const body = name.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.')
  return new RegExp(`^(?:.*\\.)?${body}$`)
}
