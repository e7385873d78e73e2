import type { Architecture } from '../models/architecture'
import type { Blocks } from '../models/blocks/types'
import { Decoder } from '../models/decoder'
import { loadParameters, type LoadOptions } from '../models/load'
import type { Parameters } from '../models/parameters'
import { vocabularyOf, type LayerRange, type Share } from '../models/share'
import type { Weights } from '../models/weights'
import type { MeshPlan } from '../plan/plan'
import { ShardedFrozen } from './sharding/gathered'
import type { Place } from './mesh/mesh'
import { StagePipe } from './pipeline/pipeline'
import type { Ranks } from './ranks'
import { ShardedParameters, type ShardingStage } from './sharding/sharded'
import { stageCosts, stageLayers } from './pipeline/stages'
import { tensorBlocks } from './tensor/tensor-blocks'

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

/** This rank's part of a checkpoint, divided as the mesh says. */
export function loadRank(weights: Weights, options: Omit<LoadOptions, 'share' | 'hold'>, mesh: MeshPlan, ranks: Ranks): Parameters {
  if (ranks.size === 1) return loadParameters(weights, options)
  const { stage } = mesh.sharding, { sharding: group, tensor } = ranks.groups
  const divides = group !== null && (options.train || stage === 3)
  const parameters = loadParameters(weights, {
    ...options, share: (architecture) => shareOf(architecture, mesh, ranks.place),
    ...(divides ? { hold: (specs, layers) => (options.train ? new ShardedParameters(specs, layers, options.dtype, options.device, group, stage as ShardingStage) : new ShardedFrozen(specs, layers, options.dtype, options.device, group)) } : {}),
  })
  if (tensor !== null) parameters.sumOverColumns = (squares) => void tensor.allReduce(squares)
  return parameters
}

/** A decoder that runs with those of the other ranks. */
export function rankDecoder(parameters: Parameters, blocks: Blocks, ranks: Ranks): Decoder {
  const { tensor, pipe } = ranks.groups, { architecture, share } = parameters
  const divided = tensor === null ? blocks : tensorBlocks(blocks, { group: tensor, vocabulary: vocabularyOf(architecture, share.tensor), vocabSize: architecture.vocabSize }, share.sequence)
  return new Decoder(parameters, divided, pipe && new StagePipe(pipe, parameters))
}
