import { Bytes, broken } from './bytes'
import { Span, TextSpan, type Dictionary } from './values'

/** What the machine asks of those who know the format that the pickle is part of. */
export interface Names {
  /** The value that a name stands for; `undefined`: it is not one of those that are known. */
  readonly global: (module: string, name: string) => unknown
  /** What calling a known name with these arguments gives: data made by rules of ours. `undefined`: it cannot be. */
  readonly make: (callee: unknown, args: readonly unknown[]) => unknown
  /** Gives an object its state; `false`: it takes none. */
  readonly build: (object: unknown, state: unknown) => boolean
  /** The value of a persistent id; `undefined`: unknown. */
  readonly persistent: (id: unknown) => unknown
}

/** A name that is known as a callee. The pickle may carry it about, and nothing in it can be run. */
export class Callee {
  constructor(readonly name: string) {}
}

const mark = Symbol('mark')
/** Texts and byte strings of more bytes stay in the file. */
const longest = 1 << 16
const mostValues = 50_000_000

/**
 * Reads one pickle (protocols 0 to 5, Python's pickletools lists the opcodes) as data: a stack of plain values, and names
 * that must be known. Nothing is ever called or imported. Dictionaries become Maps, tuples and lists arrays, integers
 * numbers where they are exact and bigint elsewhere, byte strings Uint8Array or, when long, a `Span` of the file.
 * @throws ModelError `model.pickle` with the place
 */
export function readPickle(bytes: Bytes, names: Names): unknown {
  return new Machine(bytes, names).run()
}

class Machine {
  private stack: unknown[] = []
  private readonly memo = new Map<number, unknown>()
  private made = 0

  constructor(private readonly bytes: Bytes, private readonly names: Names) {}

  run(): unknown {
    for (;;) {
      const opcode = this.bytes.u8()
      if (opcode === 0x2e) return this.pop() // STOP
      const step = opcodes[opcode]
      if (step === undefined) throw this.refuse(`has opcode 0x${opcode.toString(16).padStart(2, '0')}, which no tensor needs`)
      step(this)
      if (++this.made > mostValues) throw this.refuse(`has more than ${mostValues} steps`)
    }
  }

  get source(): Bytes { return this.bytes }

  push(value: unknown): void { this.stack.push(value) }

  pop(): unknown {
    const value = this.stack.pop()
    if (value === undefined || value === mark) throw this.refuse('takes a value from an empty stack')
    return value
  }

  peek(): unknown {
    const value = this.stack.at(-1)
    if (value === undefined || value === mark) throw this.refuse('looks at a value of an empty stack')
    return value
  }

  mark(): void { this.stack.push(mark) }

  /** All values above the last mark, which goes. */
  marked(): unknown[] {
    const at = this.stack.lastIndexOf(mark)
    if (at < 0) throw this.refuse('closes a group that was never opened')
    const values = this.stack.splice(at)
    values.shift()
    return values
  }

  last(count: number): unknown[] {
    const values = Array.from({ length: count }, () => this.pop())
    return values.reverse()
  }

  put(index: number): void { this.memo.set(index, this.peek()) }
  memoize(): void { this.memo.set(this.memo.size, this.peek()) }
  get(index: number): void {
    if (!this.memo.has(index)) throw this.refuse(`recalls value ${index}, which it never kept`)
    this.push(this.memo.get(index))
  }

  text(length: number): void {
    this.push(length > longest ? new TextSpan(this.bytes.skip(length), length) : this.bytes.take(length).toString('utf8'))
  }
  byteString(length: number): void {
    this.push(length > longest ? new Span(this.bytes.skip(length), length) : Uint8Array.from(this.bytes.take(length)))
  }

  append(values: readonly unknown[]): void {
    const list = this.peek()
    if (!Array.isArray(list)) throw this.refuse('appends to something that is no list')
    for (const value of values) list.push(value)
  }
  addItems(values: readonly unknown[]): void {
    const set = this.peek()
    if (!(set instanceof Set)) throw this.refuse('adds to something that is no set')
    for (const value of values) set.add(value)
  }
  setItems(values: readonly unknown[]): void {
    const dictionary = this.peek()
    if (!(dictionary instanceof Map)) throw this.refuse('sets items of something that is no dictionary')
    fillDictionary(dictionary, values, (seen) => this.refuse(seen))
  }

  global(module: unknown, name: unknown): void {
    const value = this.names.global(String(module), String(name))
    if (value === undefined) {
      throw broken(this.bytes.path, `names ${String(module)}.${String(name)}, which holds no tensor and may run code; it is not read`, { module, name, at: this.bytes.at },
        'use a file of the same model in safetensors, or save its state_dict() alone')
    }
    this.push(value)
  }
  reduce(callee: unknown, args: unknown): void {
    const value = Array.isArray(args) ? this.names.make(callee, args as unknown[]) : undefined
    if (value === undefined) throw this.refuse(`has a call of ${callee instanceof Callee ? callee.name : describe(callee)} with ${describe(args)}, which makes no tensor`)
    this.push(value)
  }
  build(): void {
    const state = this.pop()
    if (!this.names.build(this.peek(), state)) throw this.refuse(`gives a state to ${describe(this.peek())}, which takes none`)
  }
  persistent(id: unknown): void {
    const value = this.names.persistent(id)
    if (value === undefined) throw this.refuse(`refers to ${describe(id)} outside itself, which is no storage`)
    this.push(value)
  }

  refuse(seen: string): Error { return broken(this.bytes.path, `${seen} (byte ${this.bytes.at})`, { at: this.bytes.at }) }
}

function fillDictionary(dictionary: Dictionary, values: readonly unknown[], refuse: (seen: string) => Error): void {
  if (values.length % 2 !== 0) throw refuse('has a key without a value')
  for (let i = 0; i < values.length; i += 2) dictionary.set(values[i], values[i + 1])
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return `${value.length} values`
  if (value instanceof Callee) return value.name
  return typeof value === 'object' && value !== null ? value.constructor.name : JSON.stringify(value) ?? String(value)
}

type Step = (machine: Machine) => void

/** A number of up to 8 bytes as a number where that is exact. */
function integer(little: Uint8Array): number | bigint {
  let value = 0n
  for (let i = little.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(little[i])
  if (little.length > 0 && little[little.length - 1] >= 0x80) value -= 1n << BigInt(8 * little.length)
  return Number.isSafeInteger(Number(value)) ? Number(value) : value
}

function decimal(line: string, machine: Machine): number | bigint | boolean {
  if (line === '00' || line === '01') return line === '01'
  const text = line.replace(/L$/, '')
  if (!/^-?\d{1,400}$/.test(text)) throw machine.refuse(`has ${JSON.stringify(line)} for a number`)
  return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text)
}

function longNumber(m: Machine, length: number): void {
  if (length > 1024) throw m.refuse(`has a number of ${length} bytes`)
  m.push(integer(m.source.take(length)))
}

/** Text of protocol 0: \uXXXX escapes in Latin-1. */
function escaped(line: string): string { return line.replace(/\\u([0-9a-fA-F]{4})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))) }

/** By the numbers of pickletools. Opcodes that only make instances of classes (OBJ, INST, NEWOBJ_EX, EXT…) are not among them. */
const opcodes: Readonly<Record<number, Step>> = {
  0x28: (m) => m.mark(), // MARK
  0x30: (m) => { m.pop() }, // POP
  0x31: (m) => { m.marked() }, // POP_MARK
  0x32: (m) => m.push(m.peek()), // DUP
  0x80: (m) => { // PROTO
    const version = m.source.u8()
    if (version > 5) throw m.refuse(`has pickle protocol ${version}, and 0 to 5 are read`)
  },
  0x95: (m) => { m.source.u64() }, // FRAME
  0x4e: (m) => m.push(null), // NONE
  0x88: (m) => m.push(true), // NEWTRUE
  0x89: (m) => m.push(false), // NEWFALSE
  0x49: (m) => m.push(decimal(m.source.line(), m)), // INT
  0x4c: (m) => m.push(decimal(m.source.line(), m)), // LONG
  0x4a: (m) => m.push(m.source.i32()), // BININT
  0x4b: (m) => m.push(m.source.u8()), // BININT1
  0x4d: (m) => m.push(m.source.u16()), // BININT2
  0x8a: (m) => longNumber(m, m.source.u8()), // LONG1
  0x8b: (m) => longNumber(m, m.source.u32()), // LONG4
  0x46: (m) => m.push(Number(m.source.line())), // FLOAT
  0x47: (m) => m.push(m.source.take(8).readDoubleBE()), // BINFLOAT
  0x56: (m) => m.push(escaped(m.source.line())), // UNICODE
  0x58: (m) => m.text(m.source.u32()), // BINUNICODE
  0x8c: (m) => m.text(m.source.u8()), // SHORT_BINUNICODE
  0x8d: (m) => m.text(m.source.u64()), // BINUNICODE8
  0x54: (m) => m.byteString(m.source.u32()), // BINSTRING (Python 2's str)
  0x55: (m) => m.push(m.source.take(m.source.u8()).toString('latin1')), // SHORT_BINSTRING
  0x42: (m) => m.byteString(m.source.u32()), // BINBYTES
  0x43: (m) => m.byteString(m.source.u8()), // SHORT_BINBYTES
  0x8e: (m) => m.byteString(m.source.u64()), // BINBYTES8
  0x96: (m) => m.byteString(m.source.u64()), // BYTEARRAY8
  0x29: (m) => m.push([]), // EMPTY_TUPLE
  0x5d: (m) => m.push([]), // EMPTY_LIST
  0x7d: (m) => m.push(new Map()), // EMPTY_DICT
  0x8f: (m) => m.push(new Set()), // EMPTY_SET
  0x74: (m) => m.push(m.marked()), // TUPLE
  0x85: (m) => m.push(m.last(1)), // TUPLE1
  0x86: (m) => m.push(m.last(2)), // TUPLE2
  0x87: (m) => m.push(m.last(3)), // TUPLE3
  0x6c: (m) => m.push(m.marked()), // LIST
  0x64: (m) => { // DICT
    const values = m.marked()
    m.push(new Map())
    m.setItems(values)
  },
  0x91: (m) => m.push(new Set(m.marked())), // FROZENSET
  0x61: (m) => m.append(m.last(1)), // APPEND
  0x65: (m) => m.append(m.marked()), // APPENDS
  0x73: (m) => m.setItems(m.last(2)), // SETITEM
  0x75: (m) => m.setItems(m.marked()), // SETITEMS
  0x90: (m) => m.addItems(m.marked()), // ADDITEMS
  0x70: (m) => m.put(Number(m.source.line())), // PUT
  0x71: (m) => m.put(m.source.u8()), // BINPUT
  0x72: (m) => m.put(m.source.u32()), // LONG_BINPUT
  0x94: (m) => m.memoize(), // MEMOIZE
  0x67: (m) => m.get(Number(m.source.line())), // GET
  0x68: (m) => m.get(m.source.u8()), // BINGET
  0x6a: (m) => m.get(m.source.u32()), // LONG_BINGET
  0x63: (m) => { // GLOBAL
    const module = m.source.line()
    m.global(module, m.source.line())
  },
  0x93: (m) => { // STACK_GLOBAL
    const [module, name] = m.last(2)
    m.global(module, name)
  },
  0x52: (m) => { // REDUCE
    const [callee, args] = m.last(2)
    m.reduce(callee, args)
  },
  0x81: (m) => { // NEWOBJ
    const [callee, args] = m.last(2)
    m.reduce(callee, args)
  },
  0x62: (m) => m.build(), // BUILD
  0x50: (m) => m.persistent(m.source.line()), // PERSID
  0x51: (m) => m.persistent(m.pop()), // BINPERSID
}
