import { readFileSync } from 'node:fs'
import * as path from 'node:path'
import { chatCommand } from './cli/chat'
import type { Command } from './cli/command'
import { convertCommand } from './cli/convert'
import { exitCodeOf, exitCodes } from './cli/exit'
import { doctorCommand } from './cli/doctor'
import { parseFlags } from './cli/flags'
import { generateCommand } from './cli/generate'
import { commandHelp, overview } from './cli/help'
import { jobCommand } from './cli/job'
import { launchCommand } from './cli/launch'
import { mergeCommand } from './cli/merge'
import { mergeRanksCommand } from './cli/merge-tp'
import { modelsCommand } from './cli/models'
import { planCommand } from './cli/plan'
import { profileCommand } from './cli/profile'
import { relayCommand } from './cli/relay'
import { reshardCommand } from './cli/reshard'
import { isTold, runCommand } from './cli/run'
import { errorBlock, processTerminal, type Terminal } from './cli/terminal'
import { scoreCommand } from './cli/score'
import { tokenizeCommand } from './cli/tokenize'
import { traceCommand } from './cli/trace'
import { uploadCommand } from './cli/upload'
import { PlanError, serializeError } from './errors'
import { unknownName } from './plan/refuse'

/** All commands of `fettle`, in the order of its help. */
export const commands: readonly Command[] = [runCommand, planCommand, launchCommand, jobCommand, generateCommand, chatCommand, mergeCommand, mergeRanksCommand, reshardCommand, convertCommand, uploadCommand, tokenizeCommand, scoreCommand, profileCommand, traceCommand, relayCommand, modelsCommand, doctorCommand]

/** Runs `fettle` with the arguments after its name, and sets the exit code. Never throws. */
export async function main(argv: readonly string[]): Promise<void> {
  const debug = argv.includes('--debug') || Boolean(process.env.FETTLE_DEBUG)
  const terminal = processTerminal(debug)
  // Other users of the machine see the command lines of all processes: this one's is overwritten where it holds a token.
  if (argv.some((word) => /^--?\w+[-_]token/i.test(word))) process.title = 'fettle'
  try {
    process.exitCode = await dispatch(argv, terminal)
  } catch (error) {
    terminal.err(errorBlock(error, debug))
    // Machines get the error where they read; a run's own errors were events already. Of tokenize, --json names a file.
    if (argv.includes('--json') && argv[0] !== 'tokenize' && !isTold(error)) {
      const { name, code, message } = serializeError(error)
      terminal.out(`${JSON.stringify({ error: { name, code, message } })}\n`)
    }
    process.exitCode = exitCodeOf(error)
  }
}

async function dispatch(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = argv.filter((word) => word !== '--debug')
  if (name === '--version' || name === '-v') return print(`${version()}\n`, terminal)
  if (name === undefined || name === '--help' || name === '-h' || (name === 'help' && rest.length === 0)) {
    print(overview(commands, version()), terminal)
    return name === undefined ? exitCodes.plan : exitCodes.ok
  }
  if (name === 'help') return print(commandHelp(find(rest[0])), terminal)
  if (name.startsWith('-')) throw new PlanError('cli.command', `expected a command before ${name}; try fettle help`, { name })
  const command = find(name)
  const parsed = parseFlags(rest, command.flags)
  return parsed.values.help === true ? print(commandHelp(command), terminal) : command.run(parsed, terminal)
}

function find(name: string): Command {
  const command = commands.find((each) => each.name === name)
  if (!command) throw unknownName('command', name, [...commands.map((each) => each.name), 'help'])
  return command
}

function print(text: string, terminal: Terminal): number {
  terminal.out(text)
  return exitCodes.ok
}

function version(): string {
  return (JSON.parse(readFileSync(path.join(__dirname, '..', 'package.json'), 'utf8')) as { version: string }).version
}
