import { PlanError } from '../errors'
import { parseMesh } from '../parallel/mesh/parse'
import type { Command } from './command'
import { exitCodes } from './exit'
import { takePositionals, type Parsed } from './flags'
import { lazy } from './lazy'
import { StatusLine, type Terminal } from './terminal'

export const reshardCommand: Command = {
  name: 'reshard',
  summary: 'cut a checkpoint for another mesh',
  usage: ['reshard CHECKPOINT --mesh tp=2,pp=2 --output DIR', 'reshard CHECKPOINT --mesh tp=1 --output DIR'],
  flags: [
    { name: 'mesh', type: 'text', value: 'MESH', help: 'degrees of the new mesh, such as tp=2,pp=2 or sharding=4:stage3; tp=1 is one rank' },
    { name: 'output', type: 'text', value: 'DIR', help: 'a folder for the new checkpoint', aliases: ['out'] },
  ],
  details: () => 'A resume takes a checkpoint of any mesh as it is: each rank then reads all and keeps its own. From one that was cut for its mesh it reads its own\nparts alone, and goes on with the same losses. One tensor at a time is in memory.',
  run: reshard,
}

async function reshard(parsed: Parsed, terminal: Terminal): Promise<number> {
  const { values } = parsed, [checkpoint] = takePositionals(parsed, ['CHECKPOINT'], 'reshard')
  const [mesh, output] = (['mesh', 'output'] as const).map((name) => {
    if (values[name] === undefined) throw new PlanError('cli.missing', `expected --${name} for fettle reshard, got nothing; try fettle reshard ${checkpoint} --mesh tp=2 --output ${checkpoint.replace(/\/+$/, '')}-tp2`, { flag: name })
    return values[name] as string
  })
  const line = new StatusLine(terminal)
  const made = await lazy.reshard().reshard({
    checkpoint, output, mesh: parseMesh(mesh), warn: (_, message) => terminal.err(`${message}\n`),
    onProgress: ({ done, total }) => line.show('reshard', `writing rank ${done + 1}/${total}`, 'writing …'),
  }).finally(() => line.clear())
  if (values.json) terminal.out(`${JSON.stringify(made)}\n`)
  else terminal.err(`checkpoint of step ${made.step}, written on ${made.before}, is cut for ${made.after} in ${made.output}\n`)
  return exitCodes.ok
}
