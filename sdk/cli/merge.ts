import { PlanError } from '../errors'
import type { Precision } from '../plan/plan'
import type { Command } from './command'
import { exitCodes } from './exit'
import type { Parsed } from './flags'
import { lazy } from './lazy'
import { localModel } from './model'
import { StatusLine, type Terminal } from './terminal'

export const mergeCommand: Command = {
  name: 'merge-lora',
  summary: 'merge a LoRA adapter into its model',
  usage: ['merge-lora MODEL ADAPTER OUTPUT', 'merge-lora --model_name_or_path MODEL --lora_path ADAPTER --merge_model_path OUTPUT'],
  flags: [
    { name: 'model_name_or_path', type: 'text', value: 'MODEL', help: 'the base: folder, GGUF file, builtin:… or hub repository', aliases: ['model'] },
    { name: 'lora_path', type: 'text', value: 'DIR', help: "the adapter: LoRA, rsLoRA or DoRA in PEFT's layout, LoRA or rsLoRA in PaddleNLP's", aliases: ['adapter'] },
    { name: 'merge_model_path', type: 'text', value: 'DIR', help: 'a folder for the merged model', aliases: ['out', 'output'] },
    { name: 'dtype', type: 'text', value: 'fp32|bf16|fp16', help: "number type of the merged weights (the base's own; bf16 for GGUF)", rule: 'precision' },
    { name: 'device', type: 'text', value: 'NAME', help: 'accepted, changes nothing: one weight at a time is merged on the CPU' },
  ],
  run: merge,
}

const parts = [['model_name_or_path', 'MODEL'], ['lora_path', 'ADAPTER'], ['merge_model_path', 'OUTPUT']] as const

async function merge(parsed: Parsed, terminal: Terminal): Promise<number> {
  const { values } = parsed
  const positionals = [...parsed.positionals]
  const [model, adapter, output] = parts.map(([flag, name]) => {
    const value = (values[flag] as string | undefined) ?? positionals.shift()
    if (value === undefined) throw new PlanError('cli.missing', `expected ${name} for fettle merge-lora, got nothing; try --${flag} ${name}`, { flag })
    return value
  })
  if (positionals.length > 0) throw new PlanError('cli.extra', `expected nothing more for fettle merge-lora, got ${JSON.stringify(positionals[0])}; try fettle help merge-lora`, { extra: positionals })
  const base = await localModel(model, terminal)
  const line = new StatusLine(terminal)
  let files: string[]
  try {
    files = lazy.merge().mergeLora({ model: base, adapter, output, dtype: values.dtype as Precision | undefined, onProgress: ({ name, done, total }) => line.show('merge', `merging ${done + 1}/${total} ${name}`, 'merging …') })
  } finally { line.clear() }
  if (values.json) terminal.out(`${JSON.stringify({ output, files })}\n`)
  else terminal.err(`merged model in ${output}: ${files.join(', ')}\n`)
  return exitCodes.ok
}
