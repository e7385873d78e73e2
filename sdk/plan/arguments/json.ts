import { PlanError } from '../../errors'

/** A place in a text, counted from 1. */
export interface Place { readonly line: number; readonly column: number }

/** A JSON object with the place of each of its own keys. */
export interface LocatedObject { readonly values: Record<string, unknown>; readonly places: ReadonlyMap<string, Place> }

/**
 * Reads a JSON object and remembers where its keys stand. JSON.parse would do for right files; wrong ones need the line,
 * the column and what is wrong there, which its messages give only at times. Throws `plan.json`.
 */
export function readJsonObject(text: string, file: string): LocatedObject {
  const reader = new Reader(text.startsWith('\uFEFF') ? text.slice(1) : text, file)
  return reader.document()
}

const endings = new Map([['{', '}'], ['[', ']']])

class Reader {
  #at = 0
  /** The name that was read last: what follows it may be a secret. */
  #name = ''
  readonly #places = new Map<string, Place>()
  constructor(readonly text: string, readonly file: string) {}

  document(): LocatedObject {
    this.#space()
    if (this.text[this.#at] !== '{') this.#fail('a { that begins the arguments')
    const values = this.#object(true)
    this.#space()
    if (this.#at < this.text.length) this.#fail('the end of the file after the last }')
    return { values, places: this.#places }
  }

  #value(): unknown {
    this.#space()
    const char = this.text[this.#at]
    if (char === '{') return this.#object(false)
    if (char === '[') return this.#array()
    if (char === '"') return this.#string()
    const word = /[^\s,:{}[\]"]*/y
    word.lastIndex = this.#at
    const token = word.exec(this.text)![0]
    const literals: Record<string, unknown> = { true: true, false: false, null: null }
    if (token in literals) { this.#at += token.length; return literals[token] }
    if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(token)) { this.#at += token.length; return Number(token) }
    return this.#fail(hint(token) ?? 'a value')
  }

  #object(top: boolean): Record<string, unknown> {
    const object: Record<string, unknown> = Object.create(null)
    this.#items('{', () => {
      if (this.text[this.#at] !== '"') this.#fail('a name in double quotes')
      const start = this.#at
      const key = this.#string()
      this.#name = key
      if (key in object) this.#fail(`each name once; ${JSON.stringify(key)} stands here again`, start)
      if (top) this.#places.set(key, this.#place(start))
      this.#space()
      if (this.text[this.#at] !== ':') this.#fail(`a : after ${JSON.stringify(key)}`)
      this.#at++
      object[key] = this.#value()
    })
    return { ...object }
  }

  #array(): unknown[] {
    const array: unknown[] = []
    this.#items('[', () => array.push(this.#value()))
    return array
  }

  #items(open: '{' | '[', item: () => void): void {
    const close = endings.get(open)!
    this.#at++
    this.#space()
    if (this.text[this.#at] === close) { this.#at++; return }
    for (;;) {
      item()
      this.#space()
      const char = this.text[this.#at]
      if (char === close) { this.#at++; return }
      if (char !== ',') this.#fail(`a , or ${close}`)
      this.#at++
      this.#space()
      if (this.text[this.#at] === close) this.#fail(`another entry after the last comma, or no comma before ${close}`)
    }
  }

  #string(): string {
    const token = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
    token.lastIndex = this.#at
    const found = token.exec(this.text)
    if (!found) {
      const broken = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y
      broken.lastIndex = this.#at
      const end = this.#at + broken.exec(this.text)![0].length
      this.#fail(this.text[end] === '\\' ? 'a valid escape after \\ (write \\\\ for a backslash)' : 'a closing " on the same line', end)
    }
    this.#at += found![0].length
    return JSON.parse(found![0]) as string
  }

  #space(): void {
    while (/[ \t\r\n]/.test(this.text[this.#at] ?? '')) this.#at++
    if (this.text.startsWith('//', this.#at) || this.text.startsWith('/*', this.#at) || this.text[this.#at] === '#') this.#fail('no comment: JSON has none')
  }

  #place(offset: number): Place {
    const before = this.text.slice(0, offset)
    return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') }
  }

  #fail(expected: string, offset = this.#at): never {
    const { line, column } = this.#place(offset)
    const char = this.text.slice(offset, offset + 12).split('\n')[0]
    const got = /token/i.test(this.#name) ? '(hidden)' : offset >= this.text.length ? 'the end of the file' : char === '' ? 'the end of the line' : JSON.stringify(char)
    throw new PlanError('plan.json', `${this.file}:${line}:${column}: expected ${expected}, got ${got}; try to mend the JSON there`, { file: this.file, line, column, expected })
  }
}

/** What was meant by a word that is not JSON. */
function hint(token: string): string | null {
  if (/^(True|False|None)$/.test(token)) return `${token === 'None' ? 'null' : token.toLowerCase()} (JSON, not Python)`
  if (/^(NaN|[+-]?Infinity)$/.test(token)) return 'a finite number'
  if (token.startsWith("'")) return 'a text in double quotes'
  return null
}
