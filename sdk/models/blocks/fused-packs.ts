import { call, forgetPages, keep, type Tensor } from 'fettle-native'
import type { BlockContext, Place, Weight } from './types'

interface Packs { readonly of: Tensor; readonly forward: Tensor; readonly backward: Tensor | null }

/**
 * Frozen bf16 weights in the panels that products are made from, packed once instead of at every product. Twice the
 * weights' memory, so only where packing would cost a visible share of the product: where the CPU multiplies bf16 itself. Of
 * weights that lie in a mapped file the pages themselves are let go: only a few rows, as in generating, are multiplied with them.
 */
export class PackedWeights {
  private readonly packs = new Map<string, Packs>()

  constructor(private readonly enabled: boolean) {}

  /** Bytes packed. */
  get bytes(): number { return [...this.packs.values()].reduce((sum, { forward, backward }) => sum + 2 * (forward.numel + (backward?.numel ?? 0)), 0) }

  /** A weight for `x Wᵀ`; `null`: it has to be packed there. */
  forward(weight: Weight, place: Place, context: BlockContext): Tensor | null {
    return this.serves(weight) && !context.transientWeights ? this.packed(weight, place, context.mode !== 'infer').forward : null
  }

  /** The same weight for the gradient of x, where the forward had it packed. */
  backward(weight: Weight, place: Place): Tensor | null {
    const found = this.packs.get(nameOf(place))
    return found?.of === weight.value ? found.backward : null
  }

  free(): void {
    for (const packs of this.packs.values()) freePacks(packs)
    this.packs.clear()
  }

  private serves({ value, grad }: Weight): boolean { return this.enabled && grad === null && value.dtype === 'bfloat16' }

  private packed({ value }: Weight, place: Place, both: boolean): Packs {
    const name = nameOf(place), found = this.packs.get(name)
    if (found?.of === value && (found.backward !== null || !both)) return found
    const pack = (backward: boolean): Tensor => keep(call('fettle::pack_weight', '', value, backward) as Tensor)
    // Merged weights replace others.
    if (found !== undefined && found.of !== value) freePacks(found)
    const made: Packs = { of: value, forward: found?.of === value ? found.forward : pack(false), backward: both ? pack(true) : null }
    this.packs.set(name, made)
    forgetPages(value)
    return made
  }
}

function freePacks({ forward, backward }: Packs): void {
  forward.free()
  backward?.free()
}

function nameOf({ layer, id }: Place): string { return `${layer}.${id}` }
