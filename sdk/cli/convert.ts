import { PlanError } from '../errors'
import type { Precision } from '../plan/plan'
import type { Command } from './command'
import { exitCodes } from './exit'
import type { Parsed } from './flags'
import { lazy } from './lazy'
import { localModel } from './model'
import { StatusLine, type Terminal } from './terminal'

export const convertCommand: Command = {
  name: 'convert',
  summary: 'write a model as a Hugging Face folder with safetensors',
  usage: ['convert MODEL --out DIR', 'convert MODEL --out DIR --dtype bf16 --max-shard-size 2GB'],
  flags: [
    { name: 'out', type: 'text', value: 'DIR', help: 'a folder for the converted model', aliases: ['output'] },
    { name: 'dtype', type: 'text', value: 'fp32|bf16|fp16', help: "number type of the weights (their own; bf16 for GGUF)" },
    { name: 'max-shard-size', type: 'text', value: 'SIZE', help: 'size of a file of weights, such as 500MB or 5GB (5GB)' },
  ],
  details: () => [
    'MODEL is a folder with safetensors, pytorch_model.bin (or their shards) or PaddleNLP\'s files, a GGUF file, builtin:… or a hub repository.',
    'Pickled files are read as data: nothing in them runs, and a file that asks for more than tensors is refused by name.',
  ].join('\n'),
  run: convert,
}

const types: readonly string[] = ['fp32', 'bf16', 'fp16']
const units: Readonly<Record<string, number>> = { '': 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 }

async function convert({ values, positionals }: Parsed, terminal: Terminal): Promise<number> {
  const [model, ...extra] = positionals
  if (model === undefined) throw new PlanError('cli.missing', 'expected MODEL for fettle convert, got nothing; try fettle convert MODEL --out DIR')
  if (extra.length > 0) throw new PlanError('cli.extra', `expected nothing more for fettle convert, got ${JSON.stringify(extra[0])}; try fettle help convert`, { extra })
  const output = values.out as string | undefined, dtype = values.dtype as string | undefined
  if (output === undefined) throw new PlanError('cli.missing', `expected --out DIR for fettle convert, got nothing; try fettle convert ${model} --out ${model.split('/').at(-1) || 'model'}-safetensors`, { flag: 'out' })
  if (dtype !== undefined && !types.includes(dtype)) throw new PlanError('plan.value', `expected ${types.join(', ')} for --dtype, got ${JSON.stringify(dtype)}; try --dtype bf16`, { dtype })
  const maxShardBytes = shardBytes(values['max-shard-size'] as string | undefined)
  const source = await localModel(model, terminal), line = new StatusLine(terminal)
  let files: string[]
  try {
    files = lazy.convert().convertModel({
      model: source, output, dtype: dtype as Precision | undefined, maxShardBytes,
      onProgress: ({ name, done, total }) => line.show('convert', `converting ${done + 1}/${total} ${name}`, 'converting …'),
    })
  } finally { line.clear() }
  if (values.json) terminal.out(`${JSON.stringify({ output, files })}\n`)
  else terminal.err(`converted model in ${output}: ${files.join(', ')}\n`)
  return exitCodes.ok
}

function shardBytes(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMG]i?B)?$/i.exec(text) ?? []
  const bytes = Math.floor(Number(number) * units[(unit ?? '').toUpperCase()])
  if (bytes > 0) return bytes
  throw new PlanError('plan.value', `expected a size for --max-shard-size, got ${JSON.stringify(text)}; try --max-shard-size 5GB`, { value: text })
}
