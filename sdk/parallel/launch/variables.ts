import { PlanError } from '../../errors'

/** A complaint about an environment: what is wrong, the variables it is about, and the way out. */
export function environmentError(what: string, variables: readonly string[], remedy: string, code: 'launch.environment' | 'launch.conflict' | 'launch.node' = 'launch.environment'): PlanError {
  return new PlanError(code, `${what}; ${remedy}`, { variables, remedy })
}

/** Environment variables, read with complaints that name them. An empty value is none. */
export class Variables {
  readonly #env: NodeJS.ProcessEnv
  constructor(env: NodeJS.ProcessEnv) { this.#env = env }

  text(name: string): string | undefined { return this.#env[name]?.trim() || undefined }

  has(...names: readonly string[]): boolean { return names.some((name) => this.text(name) !== undefined) }

  /** The names that are set, for messages. */
  set(names: readonly string[]): string[] { return names.filter((name) => this.has(name)) }

  whole(name: string, min = 0, max = 2 ** 31): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const value = /^\d+$/.test(text) ? Number(text) : NaN
    if (value >= min && value <= max) return value
    const expected = max < 2 ** 31 ? `a whole number from ${min} to ${max}` : `a whole number of at least ${min}`
    throw environmentError(`expected ${expected} in ${name}, got ${JSON.stringify(text)}`, [name], `correct it, or unset ${name}`)
  }

  port(name: string): number | undefined { return this.whole(name, 1, 65535) }

  /** A host name or address, without a port. */
  host(name: string): string | undefined {
    const text = this.text(name)
    if (text === undefined || /^[\w.-]+$/.test(text) || /^[\da-f:.]+(%\w+)?$/i.test(text)) return text
    throw environmentError(`expected a host name or address in ${name}, got ${JSON.stringify(text)}`, [name], `put the name alone into ${name}, and the port into ${name.replace('ADDR', 'PORT')}`)
  }

  /** Where rank 0 is, as Fettle's own variable says, or else PyTorch's. */
  master(): string | undefined { return this.host('FETTLE_MASTER_ADDR') ?? this.host('MASTER_ADDR') }
  /** The port there, likewise. */
  masterPort(): number | undefined { return this.port('FETTLE_MASTER_PORT') ?? this.port('MASTER_PORT') }
}

/** A variable that is not there, beside others that are. */
export function lacking(name: string, beside: readonly string[], remedy: string): PlanError {
  return environmentError(`expected ${name} beside ${beside.join(', ')}, which ${beside.length === 1 ? 'is' : 'are'} set`, [name, ...beside], remedy)
}

/** The value of a variable; complains where it is not there. */
export function need<T>(value: T | undefined, name: string, beside: readonly string[], remedy: string): T {
  if (value === undefined) throw lacking(name, beside, remedy)
  return value
}
