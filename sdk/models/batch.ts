import { tensor, type Tensor } from 'fettle-native'
import type { PromptRule } from './architecture'
import type { KeyValueCache } from './cache'
import { onDevice } from './device'
import type { EmbeddingNoise } from './noise'
import { placementOf, type Placement } from './positions'

/** Rows beside each other without padding: sequence i holds tokens `offsets[i]` to `offsets[i + 1]`, and sees itself only. */
export interface PackedAttention {
  readonly kind: 'packed'
  readonly offsets: readonly number[]
  /** The same on the device, where a batch is laid out for a recorded graph; left out: made where it is needed. */
  readonly sequences?: Sequences
}

/** Where packed sequences begin, int32 `[sequences + 1]` on the device, and a length that none exceeds. Sequences at the end may be empty. */
export interface Sequences { readonly starts: Tensor; readonly longest: number }

/** Padded rows with an explicit mask, to match references: `mask` bool `[rows, 1, length, length]`, true = seen. N = rows · length. */
export interface MaskedAttention { readonly kind: 'masked'; readonly rows: number; readonly length: number; readonly mask: Tensor }

/**
 * New tokens that go into a cache; sequence i (tokens `offsets[i]` to `offsets[i + 1]`) is cache row i. Either the first
 * tokens of all rows, or one more token of each.
 */
export interface CachedAttention {
  readonly kind: 'cached'
  readonly cache: KeyValueCache
  readonly offsets: readonly number[]
  /** Where each new token is written: cache row and column, int64 `[N]` each. */
  readonly slots: { readonly rows: Tensor; readonly columns: Tensor }
  /** Columns of each row that hold a token once the new ones are written. */
  readonly lengths: readonly number[]
  /** With one more token of each row: what each row sees, bool `[rows, 1, 1, longest]`. `null`: the first tokens. */
  readonly mask: Tensor | null
}

export type Attention = PackedAttention | MaskedAttention | CachedAttention

/** Where a label exists. `rows` int64 `[S]` index the flat batch; `labels` int64 `[S]` are already shifted. */
export interface Targets { readonly rows: Tensor; readonly labels: Tensor; readonly count: number }

/** A batch of the decoder: one flat row of tokens. */
export interface Batch {
  /** int64 `[N]` */
  readonly ids: Tensor
  /** int64 `[N]` */
  readonly positions: Tensor
  /** Places in the answers, int64 `[N]`, for models with a prompt rule. */
  readonly blocks?: Tensor
  /** Leading tokens of each packed sequence that the whole sequence sees; left out: none. */
  readonly prefixes?: readonly number[]
  readonly tokens: number
  /** Each sequence's last position + 1, in order (for `masked` one entry: the whole batch's). Dynamic rotary scaling reads it. */
  readonly lengths: readonly number[]
  readonly attention: Attention
  readonly targets?: Targets
  /** Another rank trains on it: it is walked along, so that all ranks gather and reduce alike, and counts for nothing. */
  readonly ghost?: boolean
  /** Noise on the embeddings, in training. */
  readonly noise?: EmbeddingNoise
}

/** A sequence to pack: ids and labels (−100: not supervised; not shifted, position t predicts t + 1). */
export interface Sequence { readonly inputIds: ArrayLike<number>; readonly labels?: ArrayLike<number> }

/**
 * Packs sequences into one batch without padding. Labels of a sequence are shifted here: position t is supervised by
 * label t + 1; a sequence's last position predicts nothing.
 * @param rule the record's: `architecture.prompt`
 * @throws ModelError `batch.prompt`
 */
export function packBatch(sequences: readonly Sequence[], device = 'cpu', rule: PromptRule | null = null): Batch {
  const offsets = [0]
  for (const s of sequences) offsets.push(offsets[offsets.length - 1] + s.inputIds.length)
  const tokens = offsets[offsets.length - 1]
  const ids = new BigInt64Array(tokens), positions = new BigInt64Array(tokens), blocks = new BigInt64Array(tokens)
  const placements = sequences.map(({ inputIds }) => placementOf(rule, inputIds))
  const rows: bigint[] = [], labels: bigint[] = []
  sequences.forEach((s, i) => {
    const start = offsets[i], length = s.inputIds.length
    for (let t = 0; t < length; t++) {
      ids[start + t] = BigInt(s.inputIds[t])
      positions[start + t] = BigInt(placements[i].position(t))
      blocks[start + t] = BigInt(placements[i].block(t))
      if (s.labels === undefined || t + 1 === length || s.labels[t + 1] === -100) continue
      rows.push(BigInt(start + t))
      labels.push(BigInt(s.labels[t + 1]))
    }
  })
  const place = (data: BigInt64Array): Tensor => onDevice(tensor(data), device)
  return {
    ids: place(ids), positions: place(positions), ...promptPlaces(rule, placements, () => place(blocks)), tokens, lengths: sequences.map((s) => s.inputIds.length),
    attention: { kind: 'packed', offsets },
    targets: { rows: place(BigInt64Array.from(rows)), labels: place(BigInt64Array.from(labels)), count: rows.length },
  }
}

/** What a batch tells of its sequences' prompts. */
export function promptPlaces(rule: PromptRule | null, placements: readonly Placement[], blocks: () => Tensor): Pick<Batch, 'blocks' | 'prefixes'> {
  return rule === null ? {} : { blocks: blocks(), prefixes: placements.map(({ prefix }) => prefix) }
}
