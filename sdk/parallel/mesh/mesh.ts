/** Degrees of the four axes, outermost first. Their product is the number of ranks. */
export interface MeshShape {
  /** Replicas that hold all of their optimizer state, each on its own rows. */
  readonly dp: number
  /** Ranks that divide optimizer state, gradients or parameters between them, each on its own rows. */
  readonly sharding: number
  /** Stages, each with its range of layers. */
  readonly pp: number
  /** Ranks that divide each matrix between them. */
  readonly tp: number
}

export type Axis = keyof MeshShape

export const axes: readonly Axis[] = ['dp', 'sharding', 'pp', 'tp']

export const oneRank: MeshShape = Object.freeze({ dp: 1, sharding: 1, pp: 1, tp: 1 })

/** Number of ranks of a mesh. */
export function worldSize({ dp, sharding, pp, tp }: MeshShape): number { return dp * sharding * pp * tp }

/** Where a rank stands on each axis, from 0. */
export type Place = Readonly<Record<Axis, number>>

/** `rank = ((dp·S + sharding)·PP + pp)·TP + tp`: neighbours in tensor parallel, which speak most, are neighbours in rank. */
export function placeOf(shape: MeshShape, rank: number): Place {
  const tp = rank % shape.tp, stage = Math.floor(rank / shape.tp), pp = stage % shape.pp, replica = Math.floor(stage / shape.pp)
  return { dp: Math.floor(replica / shape.sharding), sharding: replica % shape.sharding, pp, tp }
}

/** The rank at a place. */
export function rankAt(shape: MeshShape, { dp, sharding, pp, tp }: Place): number {
  return ((dp * shape.sharding + sharding) * shape.pp + pp) * shape.tp + tp
}

/** Ranks that differ from `rank` on the axes named alone, itself included, in order. */
export function peersOf(shape: MeshShape, rank: number, along: readonly Axis[]): number[] {
  const own = placeOf(shape, rank)
  return Array.from({ length: worldSize(shape) }, (_, other) => other)
    .filter((other) => { const place = placeOf(shape, other); return axes.every((axis) => along.includes(axis) || place[axis] === own[axis]) })
}

/** Which of the ranks that read rows of their own this one is, and how many there are: data and sharding axes together. */
export function dataPlace(shape: MeshShape, rank: number): { readonly index: number; readonly count: number } {
  const { dp, sharding } = placeOf(shape, rank)
  return { index: dp * shape.sharding + sharding, count: shape.dp * shape.sharding }
}

/** `tp=2,pp=2`; axes of degree 1 are left out, and `1 rank` stands for all of them. */
export function meshText(shape: MeshShape): string {
  const named = axes.filter((axis) => shape[axis] > 1).map((axis) => `${axis}=${shape[axis]}`)
  return named.length === 0 ? '1 rank' : named.join(',')
}
