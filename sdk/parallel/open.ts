import type { Blocks } from '../models/blocks/types'
import { Decoder } from '../models/decoder'
import { loadParameters, type LoadOptions } from '../models/load'
import type { Parameters } from '../models/parameters'
import { vocabularyOf } from '../models/share'
import type { Weights } from '../models/weights'
import type { MeshPlan } from '../plan/plan'
import { ShardedFrozen } from './sharding/gathered'
import { StagePipe } from './pipeline/pipeline'
import type { Ranks } from './ranks'
import { ShardedParameters, type ShardingStage } from './sharding/sharded'
import { shareOf } from './shares'
import { tensorBlocks } from './tensor/tensor-blocks'

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
