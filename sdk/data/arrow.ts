import { Field, Int32, List, makeData, RecordBatch, Schema, Struct, type Data } from 'apache-arrow'

const list = (name: string): Field => new Field(name, new List(new Field('item', new Int32(), false)), false)
const number = (name: string): Field => new Field(name, new Int32(), false)

/** Columns of a prepared file: see PreparedSplit. */
export const schema = new Schema([list('input_ids'), list('labels'), number('record'), number('supervised')])

/** Rows laid end to end. */
export interface RowColumns {
  readonly ids: Int32Array
  readonly labels: Int32Array
  /** Tokens of each row. */
  readonly lengths: Int32Array
  /** Of each row, labels that a token before them predicts. */
  readonly supervised: Int32Array
}

/** One record batch of encoded rows; `first` is the number of the first in the source. */
export function recordBatch({ ids, labels, lengths, supervised }: RowColumns, first: number): RecordBatch {
  const int32 = new Int32(), valueOffsets = new Int32Array(lengths.length + 1)
  lengths.forEach((length, i) => { valueOffsets[i + 1] = valueOffsets[i] + length })
  const numbers = (data: Int32Array): Data => makeData({ type: int32, length: data.length, nullCount: 0, data })
  const lists = (values: Int32Array, field: Field): Data =>
    makeData({ type: field.type as List, length: lengths.length, nullCount: 0, valueOffsets, child: numbers(values) })
  const children = [lists(ids, schema.fields[0]), lists(labels, schema.fields[1]), numbers(Int32Array.from(lengths, (_, i) => first + i)), numbers(supervised)]
  return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: lengths.length, nullCount: 0, children }))
}
