import { ModelError } from '../errors'
import type { Architecture } from '../models/architecture'
import type { PrefixPlan } from '../plan/plan'

/** What a trained prefix is, without its values (prefix tuning, arXiv 2101.00190). */
export interface PrefixConfig {
  /** Keys and values before each sequence, in every layer. */
  readonly tokens: number
  /** Width of the network that makes keys and values from an embedding while they train; `null`: they train themselves. */
  readonly hidden: number | null
}

/** Shape of the keys and values: `[tokens, 2 · layers, kvHeads, headDim]`, layer l at 2l (keys) and 2l + 1 (values), as in PEFT. */
export function prefixShape({ layers, kvHeads, headDim }: Pick<Architecture, 'layers' | 'kvHeads' | 'headDim'>, tokens: number): number[] {
  return [tokens, 2 * layers, kvHeads, headDim]
}

/** Names and shapes of what trains, in the order in which it is stored. Names are PEFT's. */
export function prefixWeights(architecture: Pick<Architecture, 'layers' | 'kvHeads' | 'headDim'>, { tokens, hidden }: PrefixConfig): { readonly name: string; readonly shape: readonly number[]; readonly decay: boolean }[] {
  const width = architecture.kvHeads * architecture.headDim, all = 2 * architecture.layers * width
  if (hidden === null) return [{ name: embeddingsName, shape: [tokens, all], decay: true }]
  return [
    { name: 'prompt_encoder.embedding.weight', shape: [tokens, width], decay: true },
    { name: 'prompt_encoder.transform.0.weight', shape: [hidden, width], decay: true },
    { name: 'prompt_encoder.transform.0.bias', shape: [hidden], decay: false },
    { name: 'prompt_encoder.transform.2.weight', shape: [all, hidden], decay: true },
    { name: 'prompt_encoder.transform.2.bias', shape: [all], decay: false },
  ]
}

/** What PEFT's file calls all keys and values, `[tokens, 2 · layers · kvHeads · headDim]`. */
export const embeddingsName = 'prompt_embeddings'

/** The prefix that a plan asks for. */
export function prefixConfigOf({ tokens, projection, projectionSize }: PrefixPlan, { hiddenSize }: Pick<Architecture, 'hiddenSize'>): PrefixConfig {
  return prefixConfig({ tokens, hidden: projection ? projectionSize ?? hiddenSize : null })
}

/** @throws ModelError `prefix.config` */
export function prefixConfig(config: PrefixConfig): PrefixConfig {
  for (const [field, value] of [['tokens', config.tokens], ['hidden', config.hidden ?? 1]] as const)
    if (!Number.isInteger(value) || value < 1) throw new ModelError('prefix.config', `expected a whole number from 1 up for ${field} of a prefix, got ${value}`, { [field]: value })
  return config
}

/** What PEFT's model calls it: with the adapter's name, `default`, and embeddings as the layer that they are while they train. */
export function liveName(name: string): string { return name === embeddingsName ? 'prompt_encoder.default.embedding.weight' : name.replace('prompt_encoder.', 'prompt_encoder.default.') }
