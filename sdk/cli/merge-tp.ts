import { PlanError } from '../errors'
import type { Precision } from '../plan/plan'
import type { Command } from './command'
import { exitCodes } from './exit'
import type { Parsed } from './flags'
import { lazy } from './lazy'
import { StatusLine, type Terminal } from './terminal'

export const mergeRanksCommand: Command = {
  name: 'merge-tp',
  summary: 'put the parts of a checkpoint of several ranks together',
  usage: ['merge-tp CHECKPOINT [OUTPUT]', 'merge-tp --model_name_or_path CHECKPOINT --output DIR --dtype bf16'],
  flags: [
    { name: 'model_name_or_path', type: 'text', value: 'CHECKPOINT', help: "a checkpoint of a run on any mesh, the run's output folder, or PaddleNLP's model_state.tp0X.pdparams", aliases: ['checkpoint'] },
    { name: 'output', type: 'text', value: 'DIR', help: 'a folder for the model (CHECKPOINT/merged)', aliases: ['out', 'merge_model_path'] },
    { name: 'dtype', type: 'text', value: 'fp32|bf16|fp16', help: 'number type of the weights (the one that the run computes in)', rule: 'precision' },
    { name: 'device', type: 'text', value: 'NAME', help: 'accepted, changes nothing: one weight at a time is merged on the CPU' },
    { name: 'with_tokenizer', type: 'flag', help: 'accepted, changes nothing: the tokenizer is always written' },
  ],
  details: () => 'Weights are put together one at a time: memory holds the largest of them, whatever the size of the model. Every command reads such a checkpoint as it is, too.',
  run: merge,
}

async function merge({ values, positionals }: Parsed, terminal: Terminal): Promise<number> {
  const rest = [...positionals]
  const checkpoint = (values.model_name_or_path as string | undefined) ?? rest.shift(), given = (values.output as string | undefined) ?? rest.shift()
  if (checkpoint === undefined) throw new PlanError('cli.missing', 'expected CHECKPOINT for fettle merge-tp, got nothing; try fettle merge-tp output/checkpoint-100', {})
  if (rest.length > 0) throw new PlanError('cli.extra', `expected nothing more for fettle merge-tp, got ${JSON.stringify(rest[0])}; try fettle help merge-tp`, { extra: rest })
  const line = new StatusLine(terminal)
  const merged = await lazy.mergeRanks().mergeRanks({
    checkpoint, output: given, dtype: values.dtype as Precision | undefined, warn: (_, message) => terminal.err(`${message}\n`),
    onProgress: ({ name, done, total }) => line.show('merge', `merging ${done + 1}/${total} ${name}`, 'merging …'),
  }).finally(() => line.clear())
  const { output, files, ranks } = merged
  if (values.json) terminal.out(`${JSON.stringify(merged)}\n`)
  else if (ranks === 1) terminal.err(`${checkpoint} is whole: nothing had to be merged, and its weights were copied to ${output}: ${files.join(', ')}\n`)
  else terminal.err(`merged model of ${ranks} ranks in ${output}: ${files.join(', ')}\n`)
  return exitCodes.ok
}
