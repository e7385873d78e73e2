import { call, ops, type Tensor } from 'fettle-native'
import type { Workspace } from './fused-workspace'

/** How to make a block's output again from what its own backward keeps anyway. Plain data, as all that is saved. */
export type Recipe =
  | { readonly kind: 'norm'; readonly x: Tensor; readonly rstd: Tensor; readonly weight: Tensor; readonly eps: number }
  | { readonly kind: 'swiglu'; readonly x: Tensor }

/** What the next block keeps of its input. */
export type Kept = { readonly tensor: Tensor } | { readonly recipe: Recipe }

/**
 * Outputs of norms and activations are a third of what a layer would keep, and cheap to make again: they live in memory
 * that all layers share, and the linear layer behind them keeps the recipe instead.
 */
export class Recipes {
  private readonly known = new WeakMap<Tensor, Recipe>()
  constructor(private readonly workspace: Workspace) {}

  remember(out: Tensor, recipe: Recipe): void { this.known.set(out, recipe) }

  /** What to keep of `x`: its recipe; else itself, copied when it shows shared memory under another handle. */
  keep(x: Tensor): Kept {
    const recipe = this.known.get(x)
    if (recipe !== undefined) return { recipe }
    return { tensor: this.workspace.isShared(x) ? ops.clone(x) : ops.alias(x) }
  }

  /** The tensor again. Valid until the next call. */
  again(kept: Kept): Tensor {
    if ('tensor' in kept) return kept.tensor
    const { recipe } = kept, [rows, width] = recipe.x.shape
    const out = this.workspace.again(rows, recipe.kind === 'norm' ? width : width / 2, recipe.x.dtype)
    if (recipe.kind === 'norm') call('fettle::rms_norm_forward', '', recipe.x, recipe.weight, recipe.eps, out, recipe.rstd)
    else call('fettle::swiglu_forward', '', recipe.x, out)
    return out
  }
}
