import { scope, tensor } from 'fettle-native'
import { packBatch } from 'fettle/dist/models/batch'
import type { Decoder } from 'fettle/dist/models/decoder'

/** The likeliest tokens that follow a prompt, each by a pass that reads the whole row anew: what generation with a cache must give. */
export function greedyByWholePasses(decoder: Decoder, prompt: readonly number[], count: number): number[] {
  const ids = [...prompt]
  for (let n = 0; n < count; n++) ids.push(scope(() => {
    const batch = packBatch([{ inputIds: ids }], 'cpu', decoder.parameters.architecture.prompt), context = decoder.context(batch, { mode: 'infer' })
    const logits = decoder.headLogits(decoder.hidden(batch, context), context, tensor([BigInt(ids.length - 1)])).toFloat32Array()
    return logits.indexOf(Math.max(...logits))
  }))
  return ids.slice(prompt.length)
}
