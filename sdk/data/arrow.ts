import { Field, Int32, List, makeData, RecordBatch, Schema, Struct, type Data } from 'apache-arrow'
import type { EncodedRow } from './encode'
import { countSupervised } from './packing'

const list = (name: string): Field => new Field(name, new List(new Field('item', new Int32(), false)), false)
const number = (name: string): Field => new Field(name, new Int32(), false)

/** Columns of a prepared file: see PreparedSplit. */
export const schema = new Schema([list('input_ids'), list('labels'), number('record'), number('supervised')])

/** One record batch of encoded rows; `first` is the number of the first in the source. */
export function recordBatch(rows: readonly EncodedRow[], first: number): RecordBatch {
  const int32 = new Int32()
  const numbers = (data: Int32Array): Data => makeData({ type: int32, length: data.length, nullCount: 0, data })
  const lists = (part: (row: EncodedRow) => Int32Array, field: Field): Data => {
    const valueOffsets = new Int32Array(rows.length + 1)
    rows.forEach((row, i) => { valueOffsets[i + 1] = valueOffsets[i] + part(row).length })
    const values = new Int32Array(valueOffsets[rows.length])
    rows.forEach((row, i) => values.set(part(row), valueOffsets[i]))
    return makeData({ type: field.type as List, length: rows.length, nullCount: 0, valueOffsets, child: numbers(values) })
  }
  const children = [
    lists(row => row.ids, schema.fields[0]),
    lists(row => row.labels, schema.fields[1]),
    numbers(Int32Array.from(rows, (_, i) => first + i)),
    numbers(Int32Array.from(rows, row => countSupervised(row.labels)))
  ]
  return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: rows.length, nullCount: 0, children }))
}
