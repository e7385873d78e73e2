/** Where a JSON text goes wrong: index in the text, and what was expected there. */
export interface JsonFault { readonly at: number; readonly seen: string; readonly end: boolean }

/** A top-level member of an object, with the places of its name and of its value (and of the value's items, for lists). */
export interface JsonMember { readonly name: string; readonly nameAt: number; readonly valueAt: number; readonly items: readonly number[] }

export interface JsonScan { readonly members: readonly JsonMember[]; readonly fault: JsonFault | null; readonly start: number }

/**
 * Scans one JSON object for places. JSON.parse reads the data; this runs only to say where an error is, because V8's own
 * messages give no column that can be relied on.
 */
export function scanJson(text: string): JsonScan {
  const scanner = new Scanner(text)
  try {
    scanner.skipSpace()
    const start = scanner.at
    const members: JsonMember[] = []
    if (text[scanner.at] === '{') scanner.object(members)
    else scanner.value([])
    scanner.skipSpace()
    if (scanner.at < text.length) throw scanner.fault('the end of the line after the value')
    return { members, fault: null, start }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return { members: scanner.members, fault: error.place, start: 0 }
  }
}

class Fault extends Error {
  constructor(readonly place: JsonFault) { super(place.seen) }
}

class Scanner {
  at = 0
  members: JsonMember[] = []

  constructor(private readonly text: string) {}

  fault(expected: string): Fault {
    const end = this.at >= this.text.length
    const found = end ? 'the line ends' : `found ${JSON.stringify(String.fromCodePoint(this.text.codePointAt(this.at)!))}`
    return new Fault({ at: this.at, seen: `expected ${expected}, ${found}`, end })
  }

  skipSpace(): void {
    while (this.at < this.text.length && ' \t\r\n'.includes(this.text[this.at])) this.at++
  }

  object(members?: JsonMember[]): void {
    if (members) this.members = members
    this.at++
    this.skipSpace()
    if (this.take('}')) return
    for (;;) {
      const nameAt = this.at
      if (this.text[this.at] !== '"') throw this.fault('a name in double quotes')
      const name = this.string()
      this.skipSpace()
      if (!this.take(':')) throw this.fault(`":" after the name ${JSON.stringify(name)}`)
      this.skipSpace()
      const valueAt = this.at
      const items: number[] = []
      this.value(items)
      members?.push({ name, nameAt, valueAt, items })
      if (this.closes('}')) return
    }
  }

  /** Reads a value; the places of a list's items go to `items`. */
  value(items: number[]): void {
    const first = this.text[this.at]
    if (first === '{') this.object()
    else if (first === '[') this.array(items)
    else if (first === '"') this.string()
    else this.word()
  }

  private array(items: number[]): void {
    this.at++
    this.skipSpace()
    if (this.take(']')) return
    for (;;) {
      items.push(this.at)
      this.value([])
      if (this.closes(']')) return
    }
  }

  /** After a value: true at the closing bracket, false after a comma that another value follows. */
  private closes(bracket: string): boolean {
    this.skipSpace()
    if (this.take(bracket)) return true
    if (!this.take(',')) throw this.fault(`"," or "${bracket}" after the value`)
    this.skipSpace()
    if (this.text[this.at] === bracket) throw this.fault(`another value after ","`)
    return false
  }

  private string(): string {
    const from = this.at++
    for (;;) {
      const code = this.text.charCodeAt(this.at)
      if (Number.isNaN(code)) throw this.fault('a closing double quote')
      if (code === 0x22) break
      if (code < 0x20) throw this.fault('control characters written as \\n, \\t or \\u00XX')
      if (code === 0x5c) this.escape()
      else this.at++
    }
    this.at++
    return JSON.parse(this.text.slice(from, this.at)) as string
  }

  private escape(): void {
    const escape = /^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.exec(this.text.slice(this.at, this.at + 6))
    if (!escape) throw this.fault('one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX')
    this.at += escape[0].length
  }

  private word(): void {
    const rest = this.text.slice(this.at, this.at + 400)
    const word = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/.exec(rest)
    if (!word) throw this.fault(rest.startsWith("'") ? 'a value (JSON wants double quotes)' : 'a value')
    this.at += word[0].length
    // A number such as 0123 or 1.x ends too early; the character after it is what is wrong.
    if (/[\w.+-]/.test(this.text[this.at] ?? '')) throw this.fault('the end of the number or word')
  }

  private take(char: string): boolean {
    if (this.text[this.at] !== char) return false
    this.at++
    return true
  }
}
