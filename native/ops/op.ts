import { NativeError } from '../errors'
import { isOptions, operator, type Operator } from '../operator'
import { Tensor } from '../tensor'

/** A typed wrapper and the schemas that it was made from. */
export type Wrapper<F> = F & { readonly schemas: readonly string[] }

interface Form {
  readonly schema: string
  readonly parameters: readonly string[]
  /** Number of out tensors, which stand first in the wrapper and last in the schema. */
  readonly outs: number
  operator?: Operator
}

function formOf(schema: string): Form {
  const list = schema.slice(schema.indexOf('(') + 1, schema.lastIndexOf(') -> '))
  const keywords = list.split('*, ')[1] ?? ''
  return { schema, parameters: list.split(', '), outs: (keywords.match(/Tensor\([a-z]!\)/g) ?? []).length }
}

function operatorOf(form: Form): Operator {
  const [name, overload] = form.schema.slice(0, form.schema.indexOf('(')).split('.')
  return (form.operator = operator(name, overload ?? ''))
}

/** The wrapper's values in schema order: out tensors last, after options and defaults. */
function outLast(form: Form, o: Operator, values: unknown[]): unknown[] {
  const rest = values.slice(form.outs)
  const last = rest[rest.length - 1]
  const given = isOptions(last) ? o.positional(rest.slice(0, -1), last) : rest
  const first = o.names.length - form.outs
  while (given.length < first) given.push(undefined)
  for (let i = 0; i < form.outs; i++) given[first + i] = values[i]
  return given
}

/** A wrapper of one schema, or of two: the second serves calls that pass a plain number where the first wants a tensor (`add(x, 2)`). */
export function op<F extends (...values: any[]) => any>(...schemas: [string] | [string, string]): Wrapper<F> {
  const forms = schemas.map(formOf)
  const [main, other] = forms
  const telling = other === undefined ? -1 : main.parameters.findIndex((p, i) => p !== other.parameters[i])
  const wrapper = (...values: unknown[]): unknown => {
    const form = other !== undefined && typeof values[telling] !== 'object' ? other : main
    const o = form.operator ?? operatorOf(form)
    if (form.outs === 0) return o.invoke(values)
    for (let i = 0; i < form.outs; i++)
      if (!(values[i] instanceof Tensor)) throw new NativeError('native.argument', 'expected the out tensor first', o.fullName)
    return o.invoke(outLast(form, o, values))
  }
  return Object.assign(wrapper, { schemas }) as unknown as Wrapper<F>
}
