import { prefixToGoOn } from '../adapters/kind'
import { attachLora } from '../adapters/lora'
import { loraConfigOf } from '../adapters/lora-config'
import { loadLora } from '../adapters/peft'
import { attachPrefix } from '../adapters/prefix'
import { prefixConfigOf } from '../adapters/prefix-config'
import { loadPrefix } from '../adapters/prefix-files'
import type { Adapter } from '../adapters/adapter'
import type { Parameters } from '../models/parameters'
import type { LoraPlan, Plan, PrefixPlan } from '../plan/plan'

/** The adapter that a plan trains, attached: a new one, or one to go on from. `null`: all weights train. */
export function openAdapter({ lora, prefix, seed }: Plan, parameters: Parameters): Adapter | null {
  if (lora !== null) return openLora(lora, parameters, seed)
  return prefix === null ? null : openPrefix(prefix, parameters, seed)
}

/** A folder brings all but the dropout. */
function openLora(lora: LoraPlan, parameters: Parameters, seed: number): Adapter {
  return lora.from === null ? attachLora(parameters, loraConfigOf(lora), { seed }) : loadLora(parameters, lora.from, { dropout: lora.dropout })
}

/** A folder brings its number of tokens, and the network that made them where it has one. */
function openPrefix(prefix: PrefixPlan, parameters: Parameters, seed: number): Adapter {
  const { from } = prefix
  if (from === null) return attachPrefix(parameters, prefixConfigOf(prefix, parameters.architecture), { seed })
  prefixToGoOn(prefix, from)
  return loadPrefix(parameters, from)
}
