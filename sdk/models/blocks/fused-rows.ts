import { call, ops, type Tensor } from 'fettle-native'
import { groupsOf } from './heads'
import { scaleQueries } from './plain-rotary'
import type { ActivationBlock, HeadShape, NormBlock, NormWeights, RopeTables, RotaryBlock, Saved } from './types'
import type { Recipes } from './fused-recipes'
import type { Workspace } from './fused-workspace'

/** `stats` fp32 `[rows, 2]`: mean, 0 in an RMS norm, and 1 / deviation. */
interface NormSaved { readonly x: Tensor; readonly stats: Tensor }

/** RMS and layer norm; the backward adds the residual's gradient in its own memory. */
export function fusedNorm(workspace: Workspace, recipes: Recipes): NormBlock {
  return {
    forward(x, weights, place, context) {
      workspace.enter(context)
      const [rows, width] = x.shape
      const out = workspace.shared(place, 'out', rows, width, x.dtype)
      const stats = workspace.saved(place, context, 'stats', rows, 2, 'float32')
      call('fettle::norm_forward', '', x, ...normArguments(weights), out, stats)
      if (context.mode !== 'train') return { out, saved: null }
      const saved: NormSaved = { x: ops.alias(x), stats }
      const { weight, bias, eps, offset, kind } = weights
      recipes.remember(out, { kind: 'norm', x: saved.x, stats, weight: ops.alias(weight.value), bias: bias && ops.alias(bias.value), eps, offset, centred: kind === 'layer' })
      return { out, saved }
    },
    backward(grad, residual, saved, weights, place) {
      const { x, stats } = saved as NormSaved, [rows, width] = grad.shape
      const out = residual ?? workspace.gradient(place, rows, width, grad.dtype)
      call('fettle::norm_backward', '', grad, x, ...normArguments(weights), stats, residual, out, weights.weight.grad, weights.bias?.grad)
      return out
    },
  }
}

function normArguments({ weight, bias, eps, offset, kind }: NormWeights): unknown[] { return [weight.value, bias?.value ?? null, eps, offset, kind === 'layer'] }

/** Rotary positions in place: both layouts of pairs and of heads, any rotated part of a head, one axis or two. */
export const fusedRotary: RotaryBlock = {
  forward: (qkv, shape, _place, context) => rotate(qkv, shape, context.rope!, false),
  backward: (grad, shape, _place, context) => rotate(grad, shape, context.rope!, true),
}

function rotate(qkv: Tensor, shape: HeadShape, rope: RopeTables, back: boolean): Tensor {
  const { dim, layout, axes } = shape.rotary!, { groups, queries, keys } = groupsOf(shape)
  call('fettle::rotary_', '', qkv, rope.cos, rope.sin, groups, queries + keys, queries + 2 * keys, shape.headDim, dim, axes, layout === 'interleaved', back)
  return scaleQueries(qkv, shape, rope)
}

/** Activations, gated or plain. */
export function fusedActivation(workspace: Workspace, recipes: Recipes): ActivationBlock {
  return {
    forward(x, { kind, activation, width }, place, context) {
      workspace.enter(context)
      const gated = kind === 'gated', out = workspace.shared(place, 'out', x.shape[0], width, x.dtype)
      call('fettle::activate', '', x, activation, gated, out)
      if (context.mode !== 'train') return { out, saved: null }
      const saved = { x: ops.alias(x) }
      recipes.remember(out, { kind: 'activation', ...saved, activation, gated })
      return { out, saved }
    },
    backward(grad, saved, { kind, activation }, place) {
      const { x } = saved as { readonly x: Tensor } & Saved
      const out = workspace.gradient(place, x.shape[0], x.shape[1], grad.dtype)
      call('fettle::activate_backward', '', grad, x, activation, kind === 'gated', out)
      return out
    },
  }
}
