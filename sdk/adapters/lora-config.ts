import { ModelError } from '../errors'
import type { LoraPlan } from '../plan/plan'
import type { Targets } from './targets'

/** What a LoRA adapter is, without its weights. */
export interface LoraConfig {
  readonly rank: number
  readonly alpha: number
  readonly dropout: number
  readonly targets: Targets
  /** Scale alpha / √rank instead of alpha / rank (arXiv 2312.03732). */
  readonly rankStabilized: boolean
  /** Weight-decomposed (DoRA, arXiv 2402.09353). */
  readonly decomposed: boolean
  /** Other ranks and alphas for modules whose names a pattern ends. */
  readonly rankPattern: Readonly<Record<string, number>>
  readonly alphaPattern: Readonly<Record<string, number>>
}

/** A complete config: plain LoRA unless told otherwise. */
export function loraConfig(options: Pick<LoraConfig, 'rank' | 'alpha'> & Partial<LoraConfig>): LoraConfig {
  const config: LoraConfig = { dropout: 0, targets: 'all-linear', rankStabilized: false, decomposed: false, rankPattern: {}, alphaPattern: {}, ...options }
  const positive = (name: 'rank' | 'alpha'): void => {
    if (!(config[name] > 0)) throw new ModelError('lora.config', `expected a positive ${name}, got ${config[name]}`, { [name]: config[name] })
  }
  positive('rank')
  positive('alpha')
  if (!Number.isInteger(config.rank)) throw new ModelError('lora.config', `expected a whole number for rank, got ${config.rank}`, { rank: config.rank })
  if (!(config.dropout >= 0 && config.dropout < 1)) throw new ModelError('lora.config', `expected dropout from 0 to below 1, got ${config.dropout}`, { dropout: config.dropout })
  return config
}

/** The adapter that a plan asks for; one that goes on from a folder has the config of that folder instead. */
export function loraConfigOf(plan: LoraPlan): LoraConfig {
  const { rank, alpha, dropout, targets, rsLora, dora, rankPattern, alphaPattern } = plan
  return loraConfig({ rank, alpha, dropout, targets, rankStabilized: rsLora, decomposed: dora, rankPattern, alphaPattern })
}

export function rankOf(config: LoraConfig, module: string): number { return patterned(config.rankPattern, module) ?? config.rank }

export function scaleOf(config: LoraConfig, module: string): number {
  const rank = rankOf(config, module), alpha = patterned(config.alphaPattern, module) ?? config.alpha
  return alpha / (config.rankStabilized ? Math.sqrt(rank) : rank)
}

/** PEFT's rule: a pattern is a regular expression that matches the whole name or what follows a dot. */
function patterned(patterns: Readonly<Record<string, number>>, module: string): number | undefined {
  const key = Object.keys(patterns).find((pattern) => new RegExp(`^(?:.*\\.)?(?:${pattern})$`).test(module))
  return key === undefined ? undefined : patterns[key]
}
