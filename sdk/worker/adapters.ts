import { scope } from 'fettle-native'
import { prefixToGoOn } from '../adapters/kind'
import { attachLora } from '../adapters/lora'
import { loraConfigOf } from '../adapters/lora-config'
import { loadLora, readAdapterState } from '../adapters/peft'
import { attachPrefix } from '../adapters/prefix'
import { prefixConfigOf } from '../adapters/prefix-config'
import { loadPrefix } from '../adapters/prefix-files'
import type { Adapter } from '../adapters/adapter'
import { CheckpointError } from '../errors'
import type { Parameters } from '../models/parameters'
import type { LoraPlan, Plan, PrefixPlan } from '../plan/plan'
import { readPlan } from '../train/state'

/**
 * The adapter that a plan trains, attached: a new one, or one to go on from. `null`: all weights train.
 * @param checkpoint folder of the checkpoint that the run goes on from, which brings the values later
 */
export function openAdapter({ lora, prefix, seed }: Pick<Plan, 'lora' | 'prefix' | 'seed'>, parameters: Parameters, checkpoint: string | null = null): Adapter | null {
  if (lora !== null) return openLora(lora, parameters, seed, checkpoint)
  return prefix === null ? null : openPrefix(prefix, parameters, seed)
}

/** A folder brings all but the dropout. What was once taken out of the weights is the checkpoint's to say: another machine finds it a little different. */
function openLora(lora: LoraPlan, parameters: Parameters, seed: number, checkpoint: string | null): Adapter {
  if (checkpoint !== null) refuseOtherStart(checkpoint, lora.pissa)
  if (lora.from !== null) return loadLora(parameters, lora.from, { dropout: lora.dropout })
  const config = loraConfigOf(lora), principal = lora.pissa
  if (!principal || checkpoint === null) return attachLora(parameters, config, { seed, principal })
  return scope(() => attachLora(parameters, config, { state: readAdapterState(checkpoint).tensors, principal }))
}

/**
 * The same values of A and B mean another model where they began in another way.
 * @throws CheckpointError `checkpoint.fit`
 */
function refuseOtherStart(checkpoint: string, pissa: boolean): void {
  const began = readPlan(checkpoint).lora?.pissa ?? false
  if (began !== pissa) throw new CheckpointError('checkpoint.fit', `${checkpoint} is of a run with pissa ${began}, this plan has pissa ${pissa}; resume with pissa ${began}, or start afresh`, { folder: checkpoint, pissa: began })
}

/** A folder brings its number of tokens, and the network that made them where it has one. */
function openPrefix(prefix: PrefixPlan, parameters: Parameters, seed: number): Adapter {
  const { from } = prefix
  if (from === null) return attachPrefix(parameters, prefixConfigOf(prefix, parameters.architecture), { seed })
  prefixToGoOn(prefix, from)
  return loadPrefix(parameters, from)
}
