import type { Architecture } from '../models/architecture'
import type { LayerRange, Share } from '../models/share'
import type { MeshPlan } from '../plan/plan'
import type { Place } from './mesh/mesh'
import { stageCosts, stageLayers } from './pipeline/stages'

/** Layers in as many ranges as there are stages and virtual stages, of which stage s has s, P + s, 2P + s … */
export function rangesOf(architecture: Architecture, { pp, virtual }: Pick<MeshPlan, 'pp' | 'virtual'>): readonly LayerRange[] {
  return stageLayers(architecture.layers, pp * virtual, stageCosts(architecture))
}

/** What a rank of a mesh holds of a model. */
export function shareOf(architecture: Architecture, { pp, tp, virtual, sequenceParallel }: Pick<MeshPlan, 'pp' | 'tp' | 'virtual' | 'sequenceParallel'>, place: Pick<Place, 'pp' | 'tp'>, ranges = rangesOf(architecture, { pp, virtual })): Share {
  return {
    tensor: { index: place.tp, count: tp }, sequence: tp > 1 && sequenceParallel, chunks: Array.from({ length: virtual }, (_, chunk) => ranges[chunk * pp + place.pp]),
    first: place.pp === 0, last: place.pp === pp - 1,
  }
}
