import { unknownName } from '../plan/refuse'
import { catalog, catalogTokens, type CatalogFamily } from '../inspect/catalog'
import { short, whole } from '../views/format'
import type { Command } from './command'
import { exitCodes } from './exit'
import type { Parsed } from './flags'
import type { Terminal } from './terminal'

export const modelsCommand: Command = {
  name: 'models',
  summary: 'list the models that can be fine-tuned, with the memory that they take',
  usage: ['models', 'models FAMILY', 'models [FAMILY] --json'],
  flags: [],
  details: () => `FAMILY shows one family: what kind of decoder it is, its layers that an adapter may change, and its published checkpoints.\nMemory is that of bf16 and ${whole(catalogTokens)} tokens a batch, LoRA of rank 8.`,
  async run(parsed, terminal) { return list(parsed, terminal) },
}

function list({ values, positionals: [name] }: Parsed, terminal: Terminal): number {
  const all = catalog()
  const chosen = name === undefined ? all : all.filter(({ family }) => family === name.toLowerCase())
  if (chosen.length === 0) throw unknownName('family', name, all.map(({ family }) => family))
  if (values.json) terminal.out(`${JSON.stringify(chosen)}\n`)
  else terminal.out(name === undefined ? overview(all) : chosen.map(details).join('\n'))
  return exitCodes.ok
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(bytes < 10 * 2 ** 30 ? 1 : 0)} GiB`

function overview(all: readonly CatalogFamily[]): string {
  const rows = all.flatMap(({ family, models }) => models.map(({ repository, parameters, loraMemory, sftMemory }, i) =>
    [i === 0 ? family : '', repository, short(parameters), gib(loraMemory), gib(sftMemory)]))
  return `${table([['FAMILY', 'PUBLISHED CHECKPOINTS, SUCH AS', 'PARAMETERS', 'LORA', 'SFT'], ...rows])}
Any model of these families can be fine-tuned, by ${all[0].methods.join(', ')}, whatever its size; fettle models FAMILY tells more.
Memory: at least, in bf16 with ${whole(catalogTokens)} tokens a batch; LoRA of rank 8 on every Linear layer.
`
}

function details({ family, title, structure, methods, adaptable, models }: CatalogFamily): string {
  const rows = models.map((model) => [model.repository, short(model.parameters), gib(model.download), gib(model.loraMemory), gib(model.sftMemory), model.pickled ? 'pytorch_model.bin' : 'safetensors'])
  return `${title} (${family})
  decoder   ${structure.join(', ')}
  methods   ${methods.join(', ')}
  adapters  on ${adaptable.join(', ')}

${table([['PUBLISHED CHECKPOINT', 'PARAMETERS', 'DOWNLOAD', 'LORA', 'SFT', 'WEIGHTS'], ...rows])}
  npx fettle run --model_name_or_path ${models[0].repository} --dataset_name_or_path data --output_dir output --do_train true --lora true --bf16 true
`
}

/** Columns beside each other: names to the left, numbers and what follows them to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) => `${row.map((cell, column) => (column < 2 && rows[0][column] !== 'PARAMETERS' ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ').trimEnd()}\n`).join('')
}
