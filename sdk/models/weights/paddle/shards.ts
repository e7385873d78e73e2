import type { Tensor } from 'fettle-native'
import { ModelError } from '../../../errors'
import type { Role } from '../../architecture'
import { native } from '../native'
import type { Joined } from './names'

const replicate: Role = { kind: 'replicate', unit: 1 }

/** How a matrix that holds these weights was cut over ranks: as they are, and inside each where they lie one after the other. */
export function rolesOf(wanted: readonly ({ readonly shape: readonly number[]; readonly role: Role } | undefined)[], joined: Joined | null): Role {
  const [first] = wanted
  if (first === undefined) return replicate
  if (joined === null) return first.role
  return { kind: first.role.kind, unit: first.role.unit, ...(joined.layout === 'separate' ? { pieces: wanted.map((each) => each?.shape[0] ?? 0) } : {}) }
}

/**
 * The whole of a tensor [out, in] from its shards: `column` and `vocab` cut rows, `row` cuts columns. Where key/value heads
 * are fewer than ranks PaddleNLP gives each rank all of them.
 * @param shape of the whole, where the record knows it; joined matrices are always cut
 */
export function mergeShards(name: string, shards: readonly Tensor[], role: Role, shape: readonly number[] | undefined, joined: boolean): Tensor {
  const [first] = shards, { ops } = native()
  const other = shards.find((shard) => shard.shape.join() !== first.shape.join())
  if (other !== undefined) throw new ModelError('model.paddle', `expected shards of one shape for ${name}, got [${first.shape.join(', ')}] and [${other.shape.join(', ')}]; the shards are of different models`, { tensor: name })
  const copied = role.kind === 'replicate' || (!joined && first.shape.join() === shape?.join())
  if (shards.length === 1 || copied) return first
  if (role.kind === 'row') return ops.cat(shards, first.shape.length - 1)
  if (role.pieces === undefined) return ops.cat(shards, 0)
  let start = 0
  const pieces = role.pieces.flatMap((rows) => {
    const share = rows / shards.length, from = start
    if (!Number.isInteger(share)) throw new ModelError('model.paddle', `expected ${rows} rows to be cut over ${shards.length} shards evenly; the shards are of another model`, { rows, shards: shards.length })
    start += share
    return shards.map((shard) => ops.narrow(shard, 0, from, share))
  })
  return ops.cat(pieces, 0)
}

/** Rows of part `index` of a matrix that has, for each of `groups`, so many rows of every part. */
export function groupedRows(whole: Tensor, groups: number, rows: readonly number[], index: number): Tensor {
  const { ops } = native(), all = rows.reduce((a, b) => a + b, 0), rest = whole.shape.slice(1)
  const start = rows.slice(0, index).reduce((a, b) => a + b, 0)
  const parts = ops.narrow(ops.reshape(whole, [groups, all, ...rest]), 1, start, rows[index])
  return ops.clone(ops.reshape(parts, [groups * rows[index], ...rest]), { memoryFormat: 'contiguous' })
}
