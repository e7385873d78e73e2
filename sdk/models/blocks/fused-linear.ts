import { call, ops, type Tensor } from 'fettle-native'
import { plainLinear } from './plain-linear'
import type { LinearBlock, LinearWeights, LoraWeights, Saved } from './types'
import type { PackedWeights } from './fused-packs'
import type { Kept, Recipes } from './fused-recipes'
import type { Workspace } from './fused-workspace'

/** What a linear layer's backward reads: its input, the adapter's inner activations and what dropout kept of the input; or the plain form's record. */
type LinearSaved = { readonly x: Kept; readonly inner: Tensor | null; readonly mask: Tensor | null } | { readonly plain: Saved }

/** `x Wᵀ` with bias, LoRA and residual in one product; gradients of weights and adapters straight into fp32. */
export function fusedLinear(workspace: Workspace, recipes: Recipes, packs: PackedWeights): LinearBlock {
  return {
    forward(x, residual, weights, place, context) {
      if (needsPlain(weights)) {
        // Its graph keeps x itself, which must not be memory that the next layers write.
        const input = context.mode === 'train' && workspace.isShared(x) ? ops.clone(x) : x
        const { out, saved } = plainLinear.forward(input, residual, weights, place, context)
        return { out, saved: saved && { plain: saved } }
      }
      workspace.enter(context)
      const rows = x.shape[0], { a, b, rowStarts, rankStarts, scales, width } = adapterOf(weights)
      const out = workspace.saved(place, context, 'out', rows, weights.outFeatures, x.dtype)
      const inner = a && workspace.saved(place, context, 'inner', rows, width, x.dtype)
      // Packing for a few rows, as in generating, would cost more than it saves.
      const packed = rows > fewRows ? packs.forward(weights.weight, place, context) : null
      const [dropped, mask] = context.dropout && weights.lora !== null && weights.lora.dropout > 0 ? ops.native_dropout(x, weights.lora.dropout, true) : [null, null]
      call('fettle::linear_forward', '', x, dropped, weights.weight.value, packed, weights.bias?.value, residual, a, b, rowStarts, rankStarts, scales, out, inner)
      const saved: LinearSaved | null = context.mode === 'train' ? { x: recipes.keep(x), inner, mask } : null
      return { out, saved }
    },
    backward(grad, saved, weights, place) {
      const record = saved as LinearSaved
      if ('plain' in record) return plainLinear.backward(grad, record.plain, weights, place)
      const { a, b, rowStarts, rankStarts, scales, aGrad, bGrads } = adapterOf(weights)
      const out = workspace.gradient(place, grad.shape[0], weights.inFeatures, grad.dtype), x = recipes.again(record.x), { mask } = record
      // What was kept is this much larger, so that the mean stays.
      const factor = 1 / (1 - (weights.lora?.dropout ?? 0)), dropped = mask && ops.native_dropout_backward(x, mask, factor), droppedOut = mask && ops.empty_like(out)
      call('fettle::linear_backward', '', grad, x, dropped, weights.weight.value, packs.backward(weights.weight, place), a, b, rowStarts, rankStarts, scales, record.inner,
        weights.weight.grad, weights.bias?.grad, aGrad, bGrads, out, droppedOut)
      if (mask !== null) ops.add_(out, ops.native_dropout_backward(droppedOut!, mask, factor))
      return out
    },
  }
}

/** Up to so many rows are multiplied with weights as they lie (kFewRows in native/kernels/multiply.h). */
export const fewRows = 8

/** DoRA scales the whole product, which is the plain form's. */
function needsPlain({ lora }: LinearWeights): boolean { return lora?.parts.some((part) => part.magnitude !== null) ?? false }

interface AdapterArguments {
  readonly a: Tensor | null
  readonly aGrad: Tensor | null
  readonly b: Tensor[]
  /** Empty when the adapter is frozen. */
  readonly bGrads: Tensor[]
  readonly rowStarts: number[]
  readonly rankStarts: number[]
  readonly scales: number[]
  /** Columns of the inner activations, as the kernels lay them out. */
  readonly width: number
}

const none: AdapterArguments = { a: null, aGrad: null, b: [], bGrads: [], rowStarts: [], rankStarts: [], scales: [], width: 0 }

/** Of adapters that have been used: made once, as their weights keep their tensors. */
const made = new WeakMap<LoraWeights, AdapterArguments>()

function adapterOf({ lora }: LinearWeights): AdapterArguments {
  if (lora === null) return none
  const found = made.get(lora)
  if (found !== undefined) return found
  const { parts } = lora
  const adapter: AdapterArguments = {
    a: lora.a.value, aGrad: lora.a.grad, b: parts.map((p) => p.b.value), bGrads: parts.flatMap((p) => p.b.grad ?? []),
    rowStarts: parts.map((p) => p.rowStart), rankStarts: parts.map((p) => p.rankStart), scales: parts.map((p) => p.scale),
    width: call('fettle::inner_width', '', parts.map((p) => p.rank), lora.a.value.dtype === 'bfloat16') as number,
  }
  made.set(lora, adapter)
  return adapter
}
