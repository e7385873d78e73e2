import { call, ops, type Tensor } from 'fettle-native'
import { plainActivation } from './plain-activation'
import { plainNorm } from './plain-norm'
import { plainRotary, scaleQueries } from './plain-rotary'
import type { ActivationBlock, ActivationShape, HeadShape, NormBlock, RotaryBlock, RopeTables, Saved } from './types'
import type { Recipes } from './fused-recipes'
import type { Workspace } from './fused-workspace'

type NormSaved = { readonly x: Tensor; readonly rstd: Tensor } | { readonly plain: Saved }

/** RMS norm; the backward adds the residual's gradient in its own memory. Layer norm, and weights with an offset, run in the plain form. */
export function fusedNorm(workspace: Workspace, recipes: Recipes): NormBlock {
  return {
    forward(x, weights, place, context) {
      if (weights.kind !== 'rms' || weights.offset !== 0) {
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

/** Rotary positions in place, in both layouts and any rotated part of a head. Grouped heads and a second axis run in the plain form. */
export const fusedRotary: RotaryBlock = {
  forward: (qkv, shape, place, context) => (fits(shape) ? rotate(qkv, shape, context.rope!, false) : plainRotary.forward(qkv, shape, place, context)),
  backward: (grad, shape, place, context) => (fits(shape) ? rotate(grad, shape, context.rope!, true) : plainRotary.backward(grad, shape, place, context)),
}

function fits({ layout, rotary }: HeadShape): boolean { return layout === 'separate' && rotary!.axes === 1 }

function rotate(qkv: Tensor, shape: HeadShape, rope: RopeTables, back: boolean): Tensor {
  const { heads, kvHeads, headDim } = shape, { dim, layout } = shape.rotary!
  call('fettle::rotary_', '', qkv, rope.cos, rope.sin, heads + kvHeads, headDim, dim, layout === 'interleaved', back)
  return scaleQueries(qkv, shape, rope)
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
