import { enableGrad, gradients, noGrad, ops, type Tensor } from 'fettle-native'
import type { BlockContext, Forward, Saved, Weight } from './types'

/** A graph of one block: leaves in, one result out. */
interface Recorded { readonly leaves: readonly (Tensor | null)[]; readonly result: Tensor }

/**
 * Runs a block's formula on detached inputs. In `train` mode its graph is kept, from the inputs that need a gradient to
 * the result; nothing outside the block is reached by it.
 */
export function record(inputs: readonly { readonly value: Tensor; readonly needsGrad: boolean }[], context: BlockContext, formula: (inputs: Tensor[]) => Tensor): Forward {
  if (context.mode !== 'train') return { out: noGrad(() => formula(inputs.map((i) => i.value))), saved: null }
  const leaves = inputs.map(({ value, needsGrad }) => {
    if (!needsGrad) return null
    const leaf = ops.detach(value)
    leaf.requiresGrad = true
    return leaf
  })
  const result = enableGrad(() => formula(inputs.map((input, i) => leaves[i] ?? input.value)))
  const saved: Recorded = { leaves, result }
  return { out: ops.detach(result), saved }
}

/** Gradients of the recorded inputs, in their order; `null` where none was needed. */
export function replay(grad: Tensor, saved: Saved): (Tensor | null)[] {
  const { leaves, result } = saved as Recorded
  const found = gradients([result], leaves.filter((leaf): leaf is Tensor => leaf !== null), [grad])
  let next = 0
  return leaves.map((leaf) => leaf && (found[next++] as Tensor))
}

export const activationInput = (value: Tensor): { value: Tensor; needsGrad: boolean } => ({ value, needsGrad: true })
export const weightInput = (weight: Weight): { value: Tensor; needsGrad: boolean } => ({ value: weight.value, needsGrad: weight.grad !== null })

/** Adds gradients, in compute dtype, to the weights' fp32 ones. */
export function accumulate(weights: readonly Weight[], grads: readonly (Tensor | null)[]): void {
  weights.forEach((weight, i) => { if (weight.grad !== null && grads[i] !== null) ops.add_(weight.grad, grads[i] as Tensor) })
}
