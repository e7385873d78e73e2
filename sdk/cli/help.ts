import type { Command } from './command'
import { exitMeanings } from './exit'
import { commonFlags, type Flag } from './flags'

/** The overview: commands, common flags, exit codes. */
export function overview(commands: readonly Command[], version: string): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  return [
    `fettle ${version}: fine-tune large language models`, '',
    'Usage: fettle COMMAND [ARGUMENTS]', '',
    'Commands:', ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    `  ${'help'.padEnd(width)}  this, or fettle help COMMAND for more`, '',
    'For every command:', ...flagLines(commonFlags), '  --version\n      the version, and no more', '',
    'Exit codes:', ...exitMeanings.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`), '',
  ].join('\n')
}

/** All about one command. */
export function commandHelp(command: Command): string {
  const details = command.details?.()
  // Arguments are flags too; what the details tell is not told twice.
  const flags = command.flags.filter(({ name }) => details === undefined || !details.includes(name))
  return [
    `fettle ${command.name}: ${command.summary}`, '',
    'Usage:', ...command.usage.map((line) => `  fettle ${line}`), '',
    ...(flags.length > 0 ? ['Flags:', ...flagLines(flags), ''] : []), ...(details ? ['Arguments, with their defaults:', details, ''] : []),
  ].join('\n')
}

function flagLines(flags: readonly Flag[]): string[] {
  return flags.map(({ name, type, value, help, aliases = [] }) =>
    `  ${[name, ...aliases].map((each) => (each.length === 1 ? `-${each}` : `--${each}`)).join(', ')}${type === 'flag' ? '' : ` ${value ?? (type === 'number' ? 'N' : 'TEXT')}`}\n      ${help}`)
}
