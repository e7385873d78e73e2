import { call, ops, type Tensor } from 'fettle-native'
import { plainActivation } from './plain-activation'
import { plainNorm } from './plain-norm'
import type { ActivationBlock, ActivationShape, HeadShape, NormBlock, RotaryBlock, RopeTables, Saved } from './types'
import type { Recipes } from './fused-recipes'
import type { Workspace } from './fused-workspace'

type NormSaved = { readonly x: Tensor; readonly rstd: Tensor } | { readonly plain: Saved }

/** RMS norm; the backward adds the residual's gradient in its own memory. Layer norm runs in the plain form. */
export function fusedNorm(workspace: Workspace, recipes: Recipes): NormBlock {
  return {
    forward(x, weights, place, context) {
      if (weights.kind !== 'rms') {
        const { out, saved } = plainNorm.forward(x, weights, place, context)
        return { out, saved: saved && { plain: saved } }
      }
      workspace.enter(context)
      const [rows, width] = x.shape
      const out = workspace.shared(place, 'out', rows, width, x.dtype)
      const rstd = workspace.saved(place, context, 'rstd', rows, 1, 'float32')
      call('fettle::rms_norm_forward', '', x, weights.weight.value, weights.eps, out, rstd)
      if (context.mode !== 'train') return { out, saved: null }
      const saved: NormSaved = { x: ops.alias(x), rstd }
      recipes.remember(out, { kind: 'norm', ...saved, weight: ops.alias(weights.weight.value), eps: weights.eps })
      return { out, saved }
    },
    backward(grad, residual, saved, weights, place) {
      const record = saved as NormSaved
      if ('plain' in record) return plainNorm.backward(grad, residual, record.plain, weights, place)
      const [rows, width] = grad.shape
      const out = residual ?? workspace.gradient(place, rows, width, grad.dtype)
      call('fettle::rms_norm_backward', '', grad, record.x, weights.weight.value, record.rstd, residual, out, weights.weight.grad)
      return out
    },
  }
}

/** Rotary positions in place, in both layouts and any rotated part of a head. */
export const fusedRotary: RotaryBlock = {
  forward: (qkv, shape, _place, context) => rotate(qkv, shape, context.rope, false),
  backward: (grad, shape, _place, context) => rotate(grad, shape, context.rope, true),
}

function rotate(qkv: Tensor, { heads, kvHeads, headDim, rotary }: HeadShape, { cos, sin }: RopeTables, back: boolean): Tensor {
  call('fettle::rotary_', '', qkv, cos, sin, heads + kvHeads, headDim, rotary.dim, rotary.layout === 'interleaved', back)
  return qkv
}

type ActivationSaved = { readonly x: Tensor } | { readonly plain: Saved }

/** SwiGLU; other activations run in the plain form. */
export function fusedActivation(workspace: Workspace, recipes: Recipes): ActivationBlock {
  return {
    forward(x, shape, place, context) {
      if (!isSwiglu(shape)) {
        const { out, saved } = plainActivation.forward(x, shape, place, context)
        return { out, saved: saved && { plain: saved } }
      }
      workspace.enter(context)
      const out = workspace.shared(place, 'out', x.shape[0], shape.width, x.dtype)
      call('fettle::swiglu_forward', '', x, out)
      if (context.mode !== 'train') return { out, saved: null }
      const saved: ActivationSaved = { x: ops.alias(x) }
      recipes.remember(out, { kind: 'swiglu', ...saved })
      return { out, saved }
    },
    backward(grad, saved, shape, place) {
      const record = saved as ActivationSaved
      if ('plain' in record) return plainActivation.backward(grad, record.plain, shape, place)
      const out = workspace.gradient(place, grad.shape[0], 2 * shape.width, grad.dtype)
      call('fettle::swiglu_backward', '', grad, record.x, out)
      return out
    },
  }
}

function isSwiglu({ kind, activation }: ActivationShape): boolean { return kind === 'gated' && activation === 'silu' }
