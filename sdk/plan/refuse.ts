import { closest, distance } from 'fastest-levenshtein'
import { PlanError } from '../errors'

/** A value as an error shows it: JSON, cut to one line. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'function') return `the function ${value.name || '(anonymous)'}`
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  let text: string
  try { text = JSON.stringify(value) ?? String(value) } catch { text = String(value) }
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

/** The one vocabulary of refusals: `expected <what> for <field>, got <value>; try …`. */
export function refusal(field: string, expected: string, got: unknown, remedy: string, where = ''): PlanError {
  return new PlanError('plan.value', `${where}expected ${expected} for ${field}, got ${show(got)}; try ${remedy}`, { field, expected, got, remedy })
}

/** A value that is right but that this version cannot do. */
export function notYet(field: string, got: unknown, remedy: string, where = ''): PlanError {
  return new PlanError('plan.notYet', `${where}${field} ${show(got)} is not there yet; ${remedy}`, { field, got, remedy })
}

/** Two values that exclude each other. */
export function conflict(fields: readonly string[], message: string, remedy: string, where = ''): PlanError {
  return new PlanError('plan.conflict', `${where}${message}; try ${remedy}`, { fields, remedy })
}

/** The known name nearest to a mistyped one, when one is near enough to be meant. */
export function nearest(name: string, known: readonly string[]): string | null {
  if (known.length === 0) return null
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '')
  const best = closest(plain(name), known.map(plain))
  const found = known.find((candidate) => plain(candidate) === best)!
  return distance(plain(name), best) <= Math.max(2, Math.ceil(name.length / 3)) ? found : null
}

/** A name that nobody knows, with the nearest one that somebody does. */
export function unknownName(kind: string, name: string, known: readonly string[], where = ''): PlanError {
  const near = nearest(name, known)
  const remedy = near ? `${near}` : `one of ${known.slice(0, 12).join(', ')}${known.length > 12 ? ', …' : ''}`
  return new PlanError('plan.unknown', `${where}expected a known ${kind}, got ${show(name)}; try ${remedy}`, { name, nearest: near, kind })
}
