import { NativeError } from '../errors'
import { operator, type Operator } from '../operator'
import { Tensor } from '../tensor'

/** A typed wrapper and the schemas that it was made from. */
export type Wrapper<F> = F & { readonly schemas: readonly string[] }

interface Form {
  readonly schema: string
  /** Number of out tensors, which stand first in the wrapper and last in the schema. */
  readonly outs: number
  operator?: Operator
}

function formOf(schema: string): Form {
  const keywords = schema.slice(schema.indexOf('('), schema.lastIndexOf(') -> ')).split('*, ')[1] ?? ''
  return { schema, outs: (keywords.match(/Tensor\([a-z]!\)/g) ?? []).length }
}

function operatorOf(form: Form): Operator {
  const [name, overload] = form.schema.slice(0, form.schema.indexOf('(')).split('.')
  return (form.operator = operator(name, overload ?? ''))
}

function outLast(form: Form, o: Operator, values: unknown[]): unknown[] {
  const outs = values.slice(0, form.outs)
  const rest = values.slice(form.outs)
  const first = o.names.length - form.outs
  const last = rest[rest.length - 1]
  const options = typeof last === 'object' && last !== null && Object.getPrototypeOf(last) === Object.prototype ? (rest.pop() as Record<string, unknown>) : {}
  outs.forEach((tensor, i) => (options[o.names[first + i]] = tensor))
  return [...rest, { ...options }]
}

/** A wrapper of one schema, or of two: the second serves calls whose second argument is a plain number (`add(x, 2)`). */
export function op<F extends (...values: any[]) => any>(...schemas: [string] | [string, string]): Wrapper<F> {
  const forms = schemas.map(formOf)
  const [main, other] = forms
  const wrapper = (...values: unknown[]): unknown => {
    const form = other !== undefined && typeof values[1] !== 'object' ? other : main
    const o = form.operator ?? operatorOf(form)
    if (form.outs === 0) return o.invoke(values)
    for (let i = 0; i < form.outs; i++)
      if (!(values[i] instanceof Tensor)) throw new NativeError('native.argument', 'expected the out tensor first', o.fullName)
    return o.invoke(outLast(form, o, values))
  }
  return Object.assign(wrapper, { schemas }) as unknown as Wrapper<F>
}
