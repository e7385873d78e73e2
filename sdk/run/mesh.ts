import { Shown } from '../inspect/shown'
import { axes, meshText, placeOf, worldSize, type MeshShape, type Place } from '../parallel/mesh/mesh'
import { meshShape } from '../parallel/mesh/shape'
import type { LayerRange } from '../models/share'
import type { MeshPlan } from '../plan/plan'
import { meshView } from '../views/objects/mesh'
import type { TextAndHtml } from '../views/objects'
import type { StartedEvent } from './events'

/** One rank of a run. */
export interface RunRank {
  /** From 0. */
  readonly rank: number
  /** Where it stands on each axis, from 0. */
  readonly place: Place
  /** Layers that it holds; empty until the model is read, and where it holds all. */
  readonly layers: readonly LayerRange[]
}

/** The ranks of a run. As a notebook's output, and as text, it draws them: a row a replica, a column a pipeline stage. */
export class RunMesh extends Shown {
  /** Its four degrees. */
  readonly shape: MeshShape

  /** @internal */
  constructor(mesh: MeshPlan, private readonly started: StartedEvent | null) {
    super()
    this.shape = meshShape(mesh)
  }

  /** Number of ranks. */
  get size(): number { return worldSize(this.shape) }

  /** Each rank with its place and its layers, in order. */
  get ranks(): readonly RunRank[] {
    const ranges = this.started?.stages ?? []
    return Array.from({ length: this.size }, (_, rank) => {
      const place = placeOf(this.shape, rank)
      return { rank, place, layers: this.shape.pp === 1 ? [] : ranges.filter((__, i) => i % this.shape.pp === place.pp) }
    })
  }

  /** Plain data, for `JSON.stringify`. */
  toJSON(): object { return { shape: this.shape, mesh: meshText(this.shape), axes, ranks: this.ranks } }

  protected view(): TextAndHtml {
    const device = this.started?.device, devices = device === undefined ? [] : Array.from({ length: this.size }, (_, rank) => (device === 'cpu' ? 'cpu' : `cuda:${rank}`))
    return meshView(this.shape, { layers: this.started?.stages, devices })
  }
}
