import { refusal, show, unknownName } from './refuse'
import { rule, type RuleName } from './rules'
import { isRecord } from './validate'

/** JavaScript as a reader would type it: `{ rank: 8 }`, not `{"rank":8}`. */
function literal(value: unknown): string {
  if (typeof value === 'string') return `'${value.replace(/\n/g, '\\n')}'`
  return Array.isArray(value) ? `[${value.map(literal).join(', ')}]` : show(value)
}

/** The argument of `.method(value)`, or the refusal that says what to write. */
export function readValue<T>(method: string, value: T, name: RuleName): T {
  const { ok, expected, example } = rule(name)
  if (!ok(value)) throw refusal(`.${method}()`, expected, value, `.${method}(${literal(example)})`)
  return value
}

/** The options of `.method({ … })`: known names, each as its rule wants it. Names left undefined are not there. */
export function readOptions<T extends object>(method: string, options: T, names: Record<keyof T & string, RuleName>): T {
  const known = Object.keys(names) as (keyof T & string)[]
  if (!isRecord(options)) throw refusal(`.${method}()`, 'an object of options', options, `.${method}({ ${known[0]}: ${literal(rule(names[known[0]]).example)} })`)
  const read: Partial<T> = {}
  for (const [key, value] of Object.entries(options) as [keyof T & string, T[keyof T & string]][]) {
    if (!known.includes(key)) throw unknownName(`option of .${method}()`, key, known)
    if (value === undefined) continue
    const { ok, expected, example } = rule(names[key])
    if (!ok(value)) throw refusal(`${key} of .${method}()`, expected, value, `.${method}({ ${key}: ${literal(example)} })`)
    read[key] = value
  }
  return read as T
}
