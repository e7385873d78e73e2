import { ProcessGroup, type Store } from 'fettle-native'
import { axes, dataPlace, peersOf, placeOf, worldSize, type Axis, type MeshShape, type Place } from './mesh/mesh'

/** ms that ranks wait for each other: while they start, in a collective, and for the first one's word. */
export const waits = { start: 10 * 60_000, collective: 60 * 60_000, command: 20 * 24 * 60 * 60_000 } as const

/** How the ranks of a run find each other. */
export interface Rendezvous {
  readonly store: Store
  readonly rank: number
  /** Among the ranks of this machine. Default: `rank`. */
  readonly localRank?: number
  /** Ranks of this machine. Default: all. */
  readonly localSize?: number
  /** Before the names of groups in a store that others use too. */
  readonly prefix?: string
  /** ms after which a collective without its peers fails. */
  readonly timeout: number
  /** ms that a rank waits for the first one's word. Default: `timeout`. */
  readonly commandTimeout?: number
  /** Address of this machine that peers connect to. */
  readonly address: string
  /** Their tensors are on GPUs: what carries them speaks NCCL, where its addon is built, else Gloo. Default false. */
  readonly gpu?: boolean
}

/** The groups that this rank speaks in; `null` where it would be alone. */
export interface Groups {
  readonly world: ProcessGroup | null
  /** All ranks: by it the first one says what comes next. */
  readonly command: ProcessGroup | null
  /** Ranks that divide each matrix. */
  readonly tensor: ProcessGroup | null
  /** Stages, in order. */
  readonly pipe: ProcessGroup | null
  /** The first and the last stage, where there are several. */
  readonly ends: ProcessGroup | null
  /** Tensor ranks of all stages: those that hold one model between them. */
  readonly model: ProcessGroup | null
  /** Ranks with rows of their own: data and sharding axes together. */
  readonly data: ProcessGroup | null
  /** Ranks that divide the optimizer between them. */
  readonly sharding: ProcessGroup | null
  /** Replicas of a shard. */
  readonly replicas: ProcessGroup | null
}

/** This rank among all: its place, and the groups that it speaks in. */
export class Ranks {
  readonly size: number
  readonly place: Place

  /** @param local place among the ranks of its machine */
  private constructor(readonly shape: MeshShape, readonly rank: number, readonly local: { readonly rank: number; readonly size: number }, readonly groups: Groups) {
    this.size = worldSize(shape)
    this.place = placeOf(shape, rank)
  }

  /** A rank that is alone. */
  static alone(): Ranks {
    const none = { world: null, command: null, tensor: null, pipe: null, ends: null, model: null, data: null, sharding: null, replicas: null }
    return new Ranks({ dp: 1, sharding: 1, pp: 1, tp: 1 }, 0, { rank: 0, size: 1 }, none)
  }

  /** All ranks call it; it waits for them. @throws NativeError `native.torch` when a peer does not come */
  static join(shape: MeshShape, meeting: Rendezvous): Ranks {
    const { rank } = meeting
    const along = (name: string, ...of: Axis[]): ProcessGroup | null => open(meeting, name, peersOf(shape, rank, of))
    const stages = peersOf(shape, rank, ['pp']), ends = [stages[0], stages[stages.length - 1]]
    return new Ranks(shape, rank, { rank: meeting.localRank ?? rank, size: meeting.localSize ?? worldSize(shape) }, {
      world: along('world', ...axes), command: open({ ...meeting, timeout: meeting.commandTimeout ?? meeting.timeout }, 'command', peersOf(shape, rank, axes)),
      tensor: along('tensor', 'tp'), pipe: along('pipe', 'pp'),
      ends: stages.length > 1 && ends.includes(rank) ? open(meeting, 'ends', ends) : null,
      model: along('model', 'pp', 'tp'), data: along('data', 'dp', 'sharding'), sharding: along('sharding', 'sharding'), replicas: along('replicas', 'dp'),
    })
  }

  /** Which rows are this rank's. */
  get data(): { readonly index: number; readonly count: number } { return dataPlace(this.shape, this.rank) }

  close(): void { for (const group of Object.values(this.groups) as (ProcessGroup | null)[]) group?.close() }
}

/** A group is named by its members: those of other ranks along the same axis are others. */
function open({ store, rank, timeout, address, prefix = '', gpu = false }: Rendezvous, name: string, members: readonly number[]): ProcessGroup | null {
  if (members.length === 1) return null
  const full = `${prefix}${name}:${members.join('-')}`, own = members.indexOf(rank)
  // Numbers and words are on the CPU; and a pipeline's messages have tags, by which alone they are told apart.
  const carried = gpu && name !== 'world' && name !== 'command' && name !== 'pipe' ? ProcessGroup.openNccl(store, full, own, members.length, timeout) : null
  return carried ?? ProcessGroup.open(store, full, own, members.length, timeout, address)
}
