import type { PlanError } from '../../errors'
import { conflict, refusal, show, unknownName } from '../refuse'
import { isRecord } from '../validate'
import { fieldByName, fields, type Field } from './fields'
import type { Place } from './json'

/** Where an argument came from, for the messages about it. */
export interface Origin {
  /** `sft.json:12:3: `, or nothing. */
  readonly where: string
  /** The value as one would write it there. */
  readonly write: (value: unknown) => string
  /** How the field is called there. */
  readonly label: string
}

/** Arguments under their own names, each with its origin; what nobody gave is at its default. */
export class Arguments {
  readonly #given = new Map<string, { readonly value: unknown; readonly origin: Origin }>()

  /** Takes a file's values. */
  addFile(values: Record<string, unknown>, file: string | null, places: ReadonlyMap<string, Place> = new Map()): void {
    for (const [name, value] of Object.entries(values)) {
      const place = places.get(name)
      const where = file === null ? '' : place ? `${file}:${place.line}:${place.column}: ` : `${file}: `
      const field = this.#field(name, where)
      this.#add(field, value, { where, label: name, write: (example) => `"${name}": ${JSON.stringify(example)}` })
    }
  }

  /** Takes overrides, which win over the file: texts as typed on a command line, or values of their own type. */
  addOverrides(values: Record<string, unknown>): void {
    const seen = new Map<Field, string>()
    for (const [name, value] of Object.entries(values)) {
      const field = this.#field(name, '')
      const twin = seen.get(field)
      if (twin !== undefined) throw conflict([twin, name], `--${twin} and --${name} are one argument`, `--${field.name} alone`)
      seen.set(field, name)
      const origin: Origin = { where: '', label: `--${name}`, write: (example) => `--${name} ${typeof example === 'string' ? example : Array.isArray(example) ? example.join() : JSON.stringify(example)}` }
      this.#given.delete(field.name)
      this.#add(field, typeof value === 'string' ? fromText(field, value) : value, origin)
    }
  }

  #field(name: string, where: string): Field {
    const field = fieldByName.get(name) ?? fieldByName.get(name.replace(/-/g, '_'))
    if (!field) throw unknownName('argument', name, [...fieldByName.keys()], where)
    return field
  }

  #add(field: Field, value: unknown, origin: Origin): void {
    const before = this.#given.get(field.name)
    if (before) {
      if (same(before.value, value)) return
      throw conflict([before.origin.label, origin.label], `${before.origin.label} is ${show(shown(field, before.value))} while ${origin.label}, another name of it, is ${show(shown(field, value))}`, `${field.name} alone`, origin.where)
    }
    check(field, value, origin)
    this.#given.set(field.name, { value, origin })
  }

  has(name: string): boolean { return this.#given.has(name) }

  /** A field's value, or its default. */
  get<T>(name: string): T {
    const given = this.#given.get(name)
    return (given ? given.value : fieldByName.get(name)!.default) as T
  }

  /** Where the value came from, for a message that begins with it. */
  where(...names: string[]): string { return names.map((name) => this.#given.get(name)?.origin.where).find((where) => where) ?? '' }

  /** Fields with a value other than their default, and where it stands. */
  changed(): { field: Field; value: unknown; where: string }[] {
    return fields.filter((field) => this.#given.has(field.name) && !same(this.get(field.name), field.default))
      .map((field) => ({ field, value: this.get(field.name), where: this.where(field.name) }))
  }
}

const types: Record<Field['type'], { expected: string; example: unknown; ok: (value: unknown) => boolean }> = {
  text: { expected: 'a text', example: 'text', ok: (value) => typeof value === 'string' },
  flag: { expected: 'true or false', example: true, ok: (value) => typeof value === 'boolean' },
  whole: { expected: 'a whole number', example: 1, ok: (value) => Number.isSafeInteger(value) },
  real: { expected: 'a number', example: 0.1, ok: (value) => typeof value === 'number' && Number.isFinite(value) },
  texts: { expected: 'a list of texts', example: ['text'], ok: (value) => Array.isArray(value) && value.every((item) => typeof item === 'string') },
  numbers: { expected: 'a list of whole numbers', example: [0, 1], ok: (value) => Array.isArray(value) && value.every(Number.isSafeInteger) },
  names: { expected: 'a list of names, or a regular expression', example: ['q_proj', 'v_proj'], ok: (value) => typeof value === 'string' || (Array.isArray(value) && value.every((item) => typeof item === 'string')) },
  table: { expected: 'an object of numbers', example: { q_proj: 16 }, ok: isRecord },
  any: { expected: 'a value', example: null, ok: () => true },
}

function check(field: Field, value: unknown, origin: Origin): void {
  if (value === null && field.default === null && !field.rule) return
  const { expected, example, ok } = field.rule ?? types[field.type]
  if (ok(value)) return
  throw wrong(field, value, origin, expected, example)
}

function wrong(field: Field, value: unknown, origin: Origin, expected: string, example: unknown): PlanError {
  // A number or flag in quotes: what was meant is plain, so say just that.
  const meant = typeof value === 'string' && field.type !== 'text' ? fromText(field, value) : value
  const fits = meant !== value && (field.rule ?? types[field.type]).ok(meant)
  const initial = field.default !== null && field.default !== '' && (field.rule ?? types[field.type]).ok(field.default) ? field.default : example
  return refusal(origin.label, expected, shown(field, value), origin.write(fits && field.status !== 'secret' ? meant : initial), origin.where)
}

/** What a message may show of a value. */
function shown(field: Field, value: unknown): unknown { return field.status === 'secret' ? '(hidden)' : value }

/** A command line's text as a value of the field's type; left as it is when it is none. */
function fromText(field: Field, text: string): unknown {
  if (/^(null|none)$/i.test(text) && field.default === null && field.type !== 'text') return null
  if (text === 'null' && field.default === null) return null
  if (field.type === 'flag' || (field.type === 'any' && /^(true|false)$/i.test(text))) {
    if (/^(true|yes|on|1)$/i.test(text)) return true
    return /^(false|no|off|0)$/i.test(text) ? false : text
  }
  if (field.type === 'whole' || field.type === 'real') return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text
  if (field.type === 'texts') return listFromText(text)
  if (field.type === 'numbers') return numbersFromText(text)
  if (field.type === 'names') return namesFromText(text)
  if (field.type === 'table') return parsed(text, '{')
  return text
}

/** `["a", "b"]` or `a,b`. */
function listFromText(text: string): unknown {
  if (!text.trim().startsWith('[')) return text.split(',').map((part) => part.trim()).filter((part) => part !== '')
  return parsed(text, '[')
}

/** `0,1` or `[0, 1]`; a text that is none stays as it is, which its rule refuses. */
function numbersFromText(text: string): unknown {
  const parts = listFromText(text)
  const numbers = Array.isArray(parts) ? parts.map(Number) : []
  return numbers.length > 0 && numbers.every(Number.isFinite) ? numbers : text
}

/** A list of names; what no name or glob holds makes it one regular expression. */
function namesFromText(text: string): unknown {
  if (text === 'all-linear' || (/[\\^$|()+{}]/.test(text) && !text.trim().startsWith('['))) return text
  return listFromText(text)
}

/** JSON that begins so; else the text as it is, which its rule refuses. */
function parsed(text: string, start: string): unknown {
  if (!text.trim().startsWith(start)) return text
  try { return JSON.parse(text) } catch { return text }
}

function same(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, index) => same(item, b[index]))
  if (isRecord(a) && isRecord(b)) return JSON.stringify(a) === JSON.stringify(b)
  return a === b
}
