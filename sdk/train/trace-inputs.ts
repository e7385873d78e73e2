import { ops, tensor, type Device, type Tensor } from 'fettle-native'
import { ModelError } from '../errors'
import type { Architecture, PromptRule } from '../models/architecture'
import type { Batch } from '../models/batch'
import { inType, onDevice } from '../models/device'
import { placementOf } from '../models/positions'

/** A padded batch as reference implementations take it, and its shape. */
export interface TraceBatch { readonly batch: Batch; readonly rows: number; readonly length: number }

/**
 * Reads `input_ids` [B, T] and optionally `attention_mask` ([B, T], or [B, 1, T, T] with 1 = seen), `position_ids`
 * ([B, T] or [1, T]; [B, 2, T] for models that also count places in the answer) and `labels` [B, T] (−100: ignored; not
 * shifted) into one batch.
 *
 * Positions that are not given count from each row's first seen token; learned ones and ALiBi count seen tokens alone.
 * Without a mask, or with one that hides nothing, the batch is packed as in training; else the mask is applied as given.
 * Labels that supervise nothing give no targets.
 * @throws ModelError `trace.input`, `batch.prompt`
 */
export function traceBatch(inputs: ReadonlyMap<string, Tensor>, architecture: Architecture, device: Device): TraceBatch {
  const given = need(inputs, 'input_ids'), vocab = architecture.vocabSize
  const [rows, length] = given.shape
  if (given.shape.length !== 2 || rows === 0 || length === 0) refuse('input_ids', 'shape [B, T]', shown(given))
  const ids = whole('input_ids', given)
  const wrong = ids.find((id) => id < 0 || id >= vocab)
  if (wrong !== undefined) refuse('input_ids', `token ids from 0 to ${vocab - 1}`, String(wrong))
  const mask = inputs.get('attention_mask')
  if (mask !== undefined) refuseAdditive(mask)
  const seen = mask?.shape.length === 2 ? seenRows(mask, rows, length) : Array.from({ length: rows }, () => Array.from({ length }, () => true))
  const own = inputs.get('position_ids'), wholeMask = mask !== undefined && mask.shape.length !== 2
  // A batch that brings both its mask and its positions needs no rule of the record.
  const rule = own !== undefined && wholeMask ? null : architecture.prompt
  const placed = seen.map((row, i) => placeRow(architecture, rule, ids.slice(i * length, (i + 1) * length), row))
  const { positions, blocks } = own === undefined
    ? { positions: placed.flatMap((row) => row.positions), blocks: placed.flatMap((row) => row.blocks) }
    : givenPositions(own, rows, length, architecture.prompt !== null)
  const place = (values: readonly number[]): Tensor => onDevice(tensor(values.map((value) => BigInt(value))), device)
  const open = !wholeMask && seen.every((row) => row.every((one) => one))
  const longest = positions.reduce((largest, position) => Math.max(largest, position), 0) + 1
  return {
    rows, length,
    batch: {
      ids: place(ids), positions: place(positions), tokens: rows * length,
      ...(architecture.prompt !== null ? { blocks: place(blocks), ...(open ? { prefixes: placed.map((row) => row.prefix) } : {}) } : {}),
      // References scale a padded batch as one: by its largest position.
      lengths: Array.from({ length: open ? rows : 1 }, () => longest),
      attention: open
        ? { kind: 'packed', offsets: Array.from({ length: rows + 1 }, (_, row) => row * length) }
        : { kind: 'masked', rows, length, mask: onDevice(seenMask(mask!, rows, length, placed.map((row) => row.prefix)), device) },
      targets: targetsOf(inputs.get('labels'), rows, length, vocab, place),
    },
  }
}

interface PlacedRow { readonly positions: number[]; readonly blocks: number[]; /** Columns that the whole row sees, padding before them included. */ readonly prefix: number }

function placeRow({ positions: { kind } }: Architecture, rule: PromptRule | null, ids: readonly number[], seen: readonly boolean[]): PlacedRow {
  const first = Math.max(0, seen.indexOf(true))
  if (kind === 'rotary') {
    const placement = placementOf(rule, ids.slice(first))
    const all = (of: (index: number) => number): number[] => ids.map((_, t) => (t < first ? 0 : of(t - first)))
    return { positions: all(placement.position), blocks: all(placement.block), prefix: placement.prefix > 0 ? first + placement.prefix : 0 }
  }
  let count = 0
  // As published: what is hidden stands before the first learned position.
  const positions = seen.map((one) => (one ? count++ : kind === 'learned' ? -1 : 0))
  return { positions, blocks: [], prefix: 0 }
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

function givenPositions(given: Tensor, rows: number, length: number, blocks: boolean): { positions: number[]; blocks: number[] } {
  const values = whole('position_ids', given), shape = given.shape.join()
  const wrong = values.find((position) => position < 0)
  if (wrong !== undefined) refuse('position_ids', 'numbers from 0 up', String(wrong))
  if (blocks) {
    if (shape !== `${rows},2,${length}`) refuse('position_ids', `shape [${rows}, 2, ${length}]`, shown(given))
    const axis = (which: number): number[] => Array.from({ length: rows }, (_, row) => values.slice((2 * row + which) * length, (2 * row + which + 1) * length)).flat()
    return { positions: axis(0), blocks: axis(1) }
  }
  const one = shape === `1,${length}` || shape === `${length}`
  if (!one && shape !== `${rows},${length}`) refuse('position_ids', `shape [${rows}, ${length}]`, shown(given))
  return { positions: one ? Array.from({ length: rows }, () => values).flat() : values, blocks: [] }
}

/** bool [B, 1, T, T]: a 2-D mask says which keys exist, causality and prompts are added; a 4-D one says all. */
function seenMask(mask: Tensor, rows: number, length: number, prefixes: readonly number[]): Tensor {
  const { shape } = mask
  const seen = ops.ne(mask, 0)
  if (shape.length === 2) {
    const keys = ops.arange(0, length, 1, { dtype: 'int64' })
    const prompt = ops.lt(keys, ops.view(tensor(prefixes.map((prefix) => BigInt(prefix))), [rows, 1, 1, 1]))
    return ops.logical_and(ops.view(seen, [rows, 1, 1, length]), ops.logical_or(prompt, ops.tril(ops.ones([length, length], { dtype: 'bool' }))))
  }
  const fits = shape.length === 4 && (shape[0] === rows || shape[0] === 1) && shape[1] === 1 && shape[2] === length && shape[3] === length
  if (!fits) refuse('attention_mask', `shape [${rows}, ${length}] or [${rows}, 1, ${length}, ${length}]`, shown(mask))
  return ops.contiguous(ops.expand(seen, [rows, 1, length, length]))
}

function seenRows(mask: Tensor, rows: number, length: number): boolean[][] {
  if (mask.shape.join() !== `${rows},${length}`) refuse('attention_mask', `shape [${rows}, ${length}] or [${rows}, 1, ${length}, ${length}]`, shown(mask))
  const values = flags(mask)
  return Array.from({ length: rows }, (_, row) => values.slice(row * length, (row + 1) * length).map((seen) => seen !== 0))
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
