import type { Resolved } from './engine'
import { NativeError } from './errors'
import { native } from './library'
import { Tensor } from './tensor'

type Values = readonly unknown[]

/** An operator of libtorch's dispatcher, looked up once. */
export class Operator {
  readonly schema: string
  readonly names: readonly string[]
  readonly kinds: Resolved[3]
  readonly returns: Resolved[4]
  private readonly id: number
  private readonly returned: number
  private readonly changed: readonly number[]
  private readonly slots: unknown[]

  constructor(readonly name: string, readonly overload: string) {
    const [id, schema, names, kinds, returns, returned, changed] = native().resolve(name, overload)
    this.id = id
    this.schema = schema
    this.names = names
    this.kinds = kinds
    this.returns = returns
    this.returned = returned
    this.changed = changed
    this.slots = new Array(kinds.length + 1)
  }

  /**
   * Calls it with `values` in schema order; a last plain object names further arguments, as Python's keywords do.
   * Omitted and undefined values take the schema's defaults.
   */
  invoke(values: Values): unknown {
    const last = values[values.length - 1]
    const given = isOptions(last) ? this.positional(values.slice(0, -1), last) : values
    const result = this.dispatch(given)
    for (const i of this.changed) if (given[i] instanceof Tensor) (given[i] as Tensor).changed()
    return this.returned >= 0 ? given[this.returned] : this.received(result)
  }

  get fullName(): string {
    return this.overload ? `${this.name}.${this.overload}` : this.name
  }

  /** The short calls are spelled out: a spread costs more than a small operator's dispatch. */
  private dispatch(given: Values): unknown {
    if (given.length > this.kinds.length) throw new NativeError('native.argument', `expected at most ${this.kinds.length} arguments, got ${given.length}`, this.fullName)
    const engine = native()
    switch (given.length) {
      case 1: return engine.call(this.id, this.encode(given[0], 0))
      case 2: return engine.call(this.id, this.encode(given[0], 0), this.encode(given[1], 1))
      case 3: return engine.call(this.id, this.encode(given[0], 0), this.encode(given[1], 1), this.encode(given[2], 2))
      default: return Reflect.apply(engine.call, engine, this.encoded(given))
    }
  }

  /** Into the same array at each call: what a step leaves to the garbage collector counts. Arguments left out take their defaults. */
  private encoded(given: Values): unknown[] {
    const { slots } = this
    slots[0] = this.id
    for (let i = 0; i < this.kinds.length; i++) slots[i + 1] = i < given.length ? this.encode(given[i], i) : undefined
    return slots
  }

  private encode(value: unknown, i: number): unknown {
    if (value === undefined || value === null) return undefined
    const kind = this.kinds[i]
    if (kind === 'tensor') {
      if (value instanceof Tensor) return value.handle
      throw new NativeError('native.argument', `expected a Tensor for '${this.names[i]}', got ${shown(value)}`, this.fullName)
    }
    if (kind !== 'tensors') {
      if (value instanceof Tensor) throw new NativeError('native.argument', `'${this.names[i]}' does not take a Tensor`, this.fullName)
      return value
    }
    if (!Array.isArray(value)) throw new NativeError('native.argument', `expected an array of Tensors for '${this.names[i]}', got ${shown(value)}`, this.fullName)
    return value.map((item: unknown) => {
      if (item instanceof Tensor) return item.handle
      if (item === undefined || item === null) return undefined
      throw new NativeError('native.argument', `expected Tensors in '${this.names[i]}', got ${shown(item)}`, this.fullName)
    })
  }

  /** `values` with named options put at their places in schema order. */
  positional(values: Values, options: Record<string, unknown>): unknown[] {
    const given = values.slice()
    for (const [key, value] of Object.entries(options)) {
      const i = this.names.indexOf(key) >= 0 ? this.names.indexOf(key) : this.names.indexOf(key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`))
      if (i < 0) throw new NativeError('native.argument', `unknown option '${key}'; its parameters are ${this.names.join(', ')}`, this.fullName)
      while (given.length < i) given.push(undefined)
      given[i] = value
    }
    return given
  }

  private received(result: unknown): unknown {
    const { returns } = this
    if (returns.length === 1) return receive(result, returns[0])
    if (returns.length === 0) return undefined
    return (result as unknown[]).map((value, i) => receive(value, returns[i]))
  }
}

function receive(value: unknown, kind: Resolved[4][number]): unknown {
  if (kind === 'tensor') return value === 0 ? undefined : new Tensor(value as number)
  if (kind === 'tensors') return (value as number[]).map((handle) => new Tensor(handle))
  return value
}

/** True for the options object that may end a call. */
export function isOptions(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

function shown(value: unknown): string {
  return Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : `${typeof value} ${String(value)}`
}

const known = new Map<string, Operator>()

/** The operator of a name such as `aten::add` (`aten::` may be left out) and an overload such as `Tensor` or ''. */
export function operator(name: string, overload = ''): Operator {
  const full = name.includes('::') ? name : `aten::${name}`
  const key = overload ? `${full}.${overload}` : full
  let found = known.get(key)
  if (!found) known.set(key, (found = new Operator(full, overload)))
  return found
}

/**
 * Calls any operator that libtorch knows: `call('aten::mm', '', a, b)`. Values stand in schema order (keyword-only ones
 * too); a last plain object may name further ones. Tensors come back as Tensor, lists as arrays, several results as an array.
 */
export function call(name: string, overload: string, ...values: unknown[]): any {
  return operator(name, overload).invoke(values)
}

/** Overloads of an operator, such as ['Tensor', 'Scalar', 'out'] of `aten::add`. */
export function overloads(name: string): string[] {
  return native().overloads(name.includes('::') ? name : `aten::${name}`)
}
