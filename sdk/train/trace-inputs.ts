import { ops, tensor, type Device, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Batch } from '../models/batch'
import { inType, onDevice } from '../models/device'

/** A padded batch as reference implementations take it, and its shape. */
export interface TraceBatch { readonly batch: Batch; readonly rows: number; readonly length: number }

/**
 * Reads `input_ids` [B, T] and optionally `attention_mask` ([B, T], or [B, 1, T, T] with 1 = seen), `position_ids`
 * ([B, T] or [1, T]) and `labels` [B, T] (−100: ignored; not shifted) into one batch.
 *
 * Positions that are not given count from each row's first seen token. Without a mask, or with one that hides nothing,
 * the batch is packed as in training; else the mask is applied as given. Labels that supervise nothing give no targets.
 * @throws ModelError `trace.input`
 */
export function traceBatch(inputs: ReadonlyMap<string, Tensor>, vocab: number, device: Device): TraceBatch {
  const given = need(inputs, 'input_ids')
  const [rows, length] = given.shape
  if (given.shape.length !== 2 || rows === 0 || length === 0) refuse('input_ids', 'shape [B, T]', shown(given))
  const ids = whole('input_ids', given)
  const wrong = ids.find((id) => id < 0 || id >= vocab)
  if (wrong !== undefined) refuse('input_ids', `token ids from 0 to ${vocab - 1}`, String(wrong))
  const mask = inputs.get('attention_mask')
  if (mask !== undefined) refuseAdditive(mask)
  const leading = mask?.shape.length === 2 ? leadingHidden(mask, rows, length) : Array.from({ length: rows }, () => 0)
  const positions = positionsOf(inputs.get('position_ids'), rows, length, leading)
  const place = (values: readonly number[]): Tensor => onDevice(tensor(values.map((value) => BigInt(value))), device)
  const open = mask === undefined || (mask.shape.length === 2 && flags(mask).every((seen) => seen !== 0))
  const longest = positions.reduce((largest, position) => Math.max(largest, position), 0) + 1
  return {
    rows, length,
    batch: {
      ids: place(ids), positions: place(positions), tokens: rows * length,
      // References scale a padded batch as one: by its largest position.
      lengths: Array.from({ length: open ? rows : 1 }, () => longest),
      attention: open
        ? { kind: 'packed', offsets: Array.from({ length: rows + 1 }, (_, row) => row * length) }
        : { kind: 'masked', rows, length, mask: onDevice(seenMask(mask, rows, length), device) },
      targets: targetsOf(inputs.get('labels'), rows, length, vocab, place),
    },
  }
}

/** The next token's label supervises each position; a row's last position predicts nothing. */
function targetsOf(labels: Tensor | undefined, rows: number, length: number, vocab: number, place: (values: readonly number[]) => Tensor): Batch['targets'] {
  if (labels === undefined) return undefined
  if (labels.shape.join() !== `${rows},${length}`) refuse('labels', `shape [${rows}, ${length}]`, shown(labels))
  const values = whole('labels', labels)
  const wrong = values.find((label) => label !== -100 && (label < 0 || label >= vocab))
  if (wrong !== undefined) refuse('labels', `−100 or token ids from 0 to ${vocab - 1}`, String(wrong))
  const at: number[] = []
  for (let i = 0; i < values.length; i++) if ((i + 1) % length !== 0 && values[i + 1] !== -100) at.push(i)
  if (at.length === 0) return undefined
  return { rows: place(at), labels: place(at.map((i) => values[i + 1])), count: at.length }
}

function positionsOf(given: Tensor | undefined, rows: number, length: number, leading: readonly number[]): number[] {
  if (given === undefined) return leading.flatMap((hidden) => Array.from({ length }, (_, t) => Math.max(0, t - hidden)))
  const one = given.shape.join() === `1,${length}` || given.shape.join() === `${length}`
  if (!one && given.shape.join() !== `${rows},${length}`) refuse('position_ids', `shape [${rows}, ${length}]`, shown(given))
  const values = whole('position_ids', given)
  if (values.some((position) => position < 0)) refuse('position_ids', 'numbers from 0 up', String(values.find((position) => position < 0)))
  return one ? Array.from({ length: rows }, () => values).flat() : values
}

/** bool [B, 1, T, T]: a 2-D mask says which keys exist, causality is added; a 4-D one says all. */
function seenMask(mask: Tensor, rows: number, length: number): Tensor {
  const { shape } = mask
  const seen = ops.ne(mask, 0)
  if (shape.length === 2) return ops.logical_and(ops.view(seen, [rows, 1, 1, length]), ops.tril(ops.ones([length, length], { dtype: 'bool' })))
  const fits = shape.length === 4 && (shape[0] === rows || shape[0] === 1) && shape[1] === 1 && shape[2] === length && shape[3] === length
  if (!fits) refuse('attention_mask', `shape [${rows}, ${length}] or [${rows}, 1, ${length}, ${length}]`, shown(mask))
  return ops.contiguous(ops.expand(seen, [rows, 1, length, length]))
}

function leadingHidden(mask: Tensor, rows: number, length: number): number[] {
  if (mask.shape.join() !== `${rows},${length}`) refuse('attention_mask', `shape [${rows}, ${length}] or [${rows}, 1, ${length}, ${length}]`, shown(mask))
  const values = flags(mask)
  return Array.from({ length: rows }, (_, row) => {
    const first = values.slice(row * length, (row + 1) * length).findIndex((seen) => seen !== 0)
    return first === -1 ? 0 : first
  })
}

const wholeTypes: ReadonlySet<string> = new Set(['int64', 'int32', 'int16', 'int8', 'uint8', 'bool'])

/** Ids and places are whole numbers; fractions and rounding have no meaning there. */
function whole(name: string, value: Tensor): number[] {
  if (!wholeTypes.has(value.dtype)) refuse(name, 'whole numbers', `${shown(value)}; write it as int64`)
  return flags(value)
}

function flags(value: Tensor): number[] { return value.dtype === 'bool' ? inType(value, 'int64').toArray() : value.toArray() }

/** A mask that is added to scores (0 = seen, −inf = not) would say the opposite of what is read here. */
function refuseAdditive(mask: Tensor): void {
  if (mask.dtype === 'bool') return
  const wrong = flags(mask).find((seen) => seen !== 0 && seen !== 1)
  if (wrong !== undefined) refuse('attention_mask', '1 = seen, 0 = not (additive masks are not read)', String(wrong))
}

function need(inputs: ReadonlyMap<string, Tensor>, name: string): Tensor { return inputs.get(name) ?? refuse(name, 'a tensor', `a file with ${[...inputs.keys()].join(', ') || 'nothing'}`) }

function shown({ dtype, shape }: Tensor): string { return `${dtype} [${shape.join(', ')}]` }

function refuse(name: string, expected: string, got: string): never {
  throw new ModelError('trace.input', `expected ${expected} for ${name} in the inputs, got ${got}`, { name, expected, got })
}
