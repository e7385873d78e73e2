import { writeFileSync } from 'node:fs'
import { PlanError } from '../errors'
import { fields, parseArguments, readArguments, toArguments } from '../plan/arguments'
import { whole } from '../plan/rules'
import { percent } from '../views/format'
import type { Command } from './command'
import { exitCodes } from './exit'
import type { Flag, Parsed } from './flags'
import { lazy } from './lazy'
import { StatusLine, type Terminal } from './terminal'

/** Devices as an argument file names them: of this machine. */
const ofThisMachine = ['gpu', 'cpu', 'cuda']

const flags: readonly Flag[] = [
  ...fields.filter(({ name }) => name !== 'device' && name !== 'ranks').map((field): Flag => ({ name: field.name, type: field.type === 'flag' ? 'flag' : 'text', help: field.note, aliases: field.aliases })),
  { name: 'device', type: 'text', value: 'NAME', help: 'this machine (this, the default; or cpu), which is measured; or a device of the catalogue, such as h100-80gb, which is computed' },
  { name: 'ranks', type: 'number', value: 'N', help: 'search meshes of so many ranks, where the file says none', rule: whole(1, 4, 65536) },
  { name: 'write', type: 'text', value: 'FILE', help: 'write what was chosen as an argument file' },
]

export const planCommand: Command = {
  name: 'plan',
  summary: 'predict memory, time and size of a run, and find its fastest form that fits',
  usage: ['plan ARGS.json [--device NAME] [--ranks N] [--write FILE] [--json]', 'plan --model_name_or_path MODEL --dataset_name_or_path DATA --output_dir DIR --do_train [--name value …]'],
  flags,
  run: predict,
}

async function predict({ positionals: [file, extra], values }: Parsed, terminal: Terminal): Promise<number> {
  const { json, debug, help, device = 'this', ranks, write, ...overrides } = values
  if (extra !== undefined) throw new PlanError('cli.extra', `expected one argument file, got ${JSON.stringify(extra)} too; try fettle plan ${file} --name value`, { extra })
  const local = ofThisMachine.includes(device as string), given = local ? { ...overrides, device } : overrides
  const { plan: of } = file === undefined ? parseArguments({}, given) : readArguments(file, given)
  const line = new StatusLine(terminal)
  try {
    const forecast = await lazy.estimate().plan(of, {
      device: local ? 'this' : device as string, ranks: ranks as number | undefined,
      onProgress: ({ stage, share }) => line.show(stage, `${stage}${share === null ? '' : ` ${percent(share)}`}`, stage),
    })
    line.clear()
    if (write !== undefined) writeFileSync(write as string, `${JSON.stringify(toArguments(forecast.fit()), null, 2)}\n`)
    terminal.out(`${json ? JSON.stringify(forecast) : forecast.toString()}\n`)
    return exitCodes.ok
  } finally {
    line.clear()
  }
}
