import { PlanError } from '../errors'
import { conflict, refusal, unknownName } from '../plan/refuse'
import { rule, type Rule, type RuleName } from '../plan/rules'

/** A flag of a command. */
export interface Flag {
  readonly name: string
  readonly type: 'text' | 'number' | 'flag'
  /** How help names its value: `DIR`, `N`. */
  readonly value?: string
  readonly help: string
  readonly rule?: RuleName | Rule
  /** Other names, such as the reference tools' own. */
  readonly aliases?: readonly string[]
}

/** A command line taken apart. */
export interface Parsed {
  readonly positionals: readonly string[]
  /** Values by flag name; flags that were not given are not there. */
  readonly values: Readonly<Record<string, unknown>>
}

/** Flags that every command takes. */
export const commonFlags: readonly Flag[] = [
  { name: 'json', type: 'flag', help: 'results as JSON on stdout, all else on stderr' },
  { name: 'debug', type: 'flag', help: 'stacks with errors (or FETTLE_DEBUG=1)' },
  { name: 'help', type: 'flag', help: 'how to use the command', aliases: ['h'] },
]

const canonical = (name: string) => name.replace(/_/g, '-')
const booleans: Record<string, boolean> = { true: true, false: false }

/**
 * Takes a command line apart. `--name value`, `--name=value`, `--flag`, `--flag true`; dashes and underscores are one;
 * `--` ends the flags. Throws a `PlanError` for an unknown flag, with the nearest one.
 */
export function parseFlags(argv: readonly string[], flags: readonly Flag[]): Parsed {
  const known = new Map([...commonFlags, ...flags].flatMap((flag) => [flag.name, ...(flag.aliases ?? [])].map((name) => [canonical(name), flag] as const)))
  const positionals: string[] = []
  const values: Record<string, unknown> = {}
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--') { positionals.push(...argv.slice(i + 1)); break }
    const match = /^--?([A-Za-z][\w-]*)(?:=([\s\S]*))?$/.exec(argv[i])
    if (!match) { positionals.push(argv[i]); continue }
    const [, name, inline] = match
    const flag = known.get(canonical(name))
    if (!flag) throw unknownName('flag', argv[i].split('=')[0], [...known.values()].map((each) => `--${each.name}`))
    const next = argv[i + 1]
    const takes = inline === undefined && next !== undefined && (flag.type === 'flag' ? next.toLowerCase() in booleans : !isFlag(next))
    if (takes) i++
    const text = inline ?? (takes ? next : undefined)
    if (flag.name in values) throw conflict([flag.name], `--${flag.name} is given twice`, `one --${flag.name}`)
    values[flag.name] = readValue(flag, text)
  }
  return { positionals, values }
}

/** `-1` is a value; `-x` and `--x` are flags. */
function isFlag(text: string): boolean { return /^--?[A-Za-z]/.test(text) }

function readValue(flag: Flag, text: string | undefined): unknown {
  const field = `--${flag.name}`
  const checked = flag.rule === undefined ? null : typeof flag.rule === 'string' ? rule(flag.rule) : flag.rule
  if (flag.type === 'flag') {
    const value = text === undefined ? true : booleans[text.toLowerCase()]
    if (value === undefined) throw refusal(field, 'true or false', text, `${field} alone`)
    return value
  }
  const example = `${field} ${checked ? String(checked.example) : flag.value ?? 'VALUE'}`
  if (text === undefined) throw refusal(field, 'a value', undefined, example)
  const value = flag.type === 'number' ? (text.trim() === '' ? NaN : Number(text)) : text
  if (flag.type === 'number' && Number.isNaN(value)) throw refusal(field, checked?.expected ?? 'a number', text, example)
  if (checked && !checked.ok(value)) throw refusal(field, checked.expected, value, example)
  return value
}

/** Exactly these positional arguments, by the names that help gives them. */
export function takePositionals(parsed: Parsed, names: readonly string[], command: string): string[] {
  const { positionals } = parsed
  if (positionals.length < names.length) {
    throw new PlanError('cli.missing', `expected ${names[positionals.length]} for fettle ${command}, got nothing; try fettle help ${command}`, { command })
  }
  if (positionals.length > names.length) {
    throw new PlanError('cli.extra', `expected nothing after ${names.at(-1) ?? command} for fettle ${command}, got ${JSON.stringify(positionals[names.length])}; try fettle help ${command}`, { command, extra: positionals.slice(names.length) })
  }
  return [...positionals]
}
