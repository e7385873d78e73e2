import { joinParts, partsOf } from './heads'
import { learnedOf, normalize } from './plain-norm'
import { accumulate, activationInput, record, replay, weightInput } from './recorded'
import type { HeadNormBlock, HeadNormWeights, Weight } from './types'

/** A norm on each query head and each key head (arXiv 2302.05442). */
export const plainHeadNorm: HeadNormBlock = {
  forward: (qkv, weights, shape, _place, context) =>
    record([activationInput(qkv), ...learned(weights).map(weightInput)], context, ([input, ...values]) => {
      const [q, k, v] = partsOf(input, shape), ofQuery = learnedOf(weights.query).length
      const normed = [normalize(q, values.slice(0, ofQuery), weights.query), normalize(k, values.slice(ofQuery), weights.key)]
      return joinParts([...normed, v], shape)
    }),
  backward(grad, saved, weights) {
    const [gradQkv, ...gradWeights] = replay(grad, saved)
    accumulate(learned(weights), gradWeights)
    return gradQkv!
  },
}

function learned({ query, key }: HeadNormWeights): Weight[] { return [...learnedOf(query), ...learnedOf(key)] }
