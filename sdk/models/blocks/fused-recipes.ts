import { call, ops, type Tensor } from 'fettle-native'
import type { ActivationShape } from './types'
import type { Workspace } from './fused-workspace'

/** How to make a block's output again from what its own backward keeps anyway. Plain data, as all that is saved. */
export type Recipe =
  | { readonly kind: 'norm'; readonly x: Tensor; readonly stats: Tensor; readonly weight: Tensor; readonly bias: Tensor | null; readonly eps: number; readonly offset: number; readonly centred: boolean }
  | { readonly kind: 'activation'; readonly x: Tensor; readonly activation: ActivationShape['activation']; readonly gated: boolean }

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
    const out = this.workspace.again(rows, recipe.kind === 'activation' && recipe.gated ? width / 2 : width, recipe.x.dtype)
    if (recipe.kind === 'norm') call('fettle::norm_forward', '', recipe.x, recipe.weight, recipe.bias, recipe.eps, recipe.offset, recipe.centred, out, recipe.stats)
    else call('fettle::activate', '', recipe.x, recipe.activation, recipe.gated, out)
    return out
  }
}
