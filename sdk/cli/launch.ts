import { randomUUID } from 'node:crypto'
import { PlanError } from '../errors'
import { fettleProgram, freePort, localCommands, remoteCommands } from '../parallel/launch/commands'
import { nodeFromEnvironment, rankFromEnvironment } from '../parallel/launch/environment'
import { parseHosts } from '../parallel/launch/hosts'
import { readMachine } from '../parallel/launch/machine'
import { portOf } from '../parallel/launch/master'
import { ranksOfNode } from '../parallel/launch/node'
import { loopback, type RankEnvironment } from '../parallel/launch/rank'
import type { RankCommand, RankOutput } from '../parallel/launch/rank-process'
import { splitWords } from '../parallel/launch/shell'
import { sshWords } from '../parallel/launch/ssh'
import { supervise } from '../parallel/launch/supervise'
import { conflict, refusal } from '../plan/refuse'
import { whole } from '../plan/rules'
import type { Command } from './command'
import type { Flag, Parsed } from './flags'
import type { Terminal } from './terminal'

const flags: readonly Flag[] = [
  { name: 'ranks', type: 'number', value: 'N', help: 'ranks on this machine', rule: whole(1, 2, 1024) },
  { name: 'hosts', type: 'text', value: 'A,B:4', help: 'machines, each with its number of ranks (1 where none is said); reached over ssh' },
  { name: 'ssh', type: 'text', value: 'COMMAND', help: "how to reach them, such as 'ssh -p 2222'; when left out, as FETTLE_SSH says, else an ssh that never asks for a password" },
  { name: 'here', type: 'flag', help: 'the first of them is this machine: its ranks start without ssh' },
  { name: 'program', type: 'text', value: 'COMMAND', help: 'Fettle on them; when left out, the same Node and folder as here' },
  { name: 'cwd', type: 'text', value: 'DIR', help: 'the folder to run in; when left out, the current one' },
  { name: 'env', type: 'text', value: 'A,B', help: 'variables to hand on to the other machines, with their values here' },
  { name: 'master', type: 'text', value: 'ADDRESS', help: 'where the others reach the first machine; when left out, its name in --hosts' },
  { name: 'port', type: 'number', value: 'P', help: 'TCP port of the store there', rule: whole(1, 29500, 65535) },
  { name: 'grace', type: 'number', value: 'SECONDS', help: 'what the other ranks have to end after a failure (15)', rule: whole(0, 15, 86400) },
]

export const launchCommand: Command = {
  name: 'launch',
  summary: 'start the ranks of a parallel run, here or over ssh',
  usage: ['launch --ranks N -- run ARGS.json [--name value …]', 'launch --hosts A,B:4 -- run ARGS.json [--name value …]'],
  flags,
  async run(parsed, terminal) {
    if (parsed.positionals.length === 0) throw new PlanError('cli.missing', 'expected a command of fettle behind --, got nothing; try fettle launch --ranks 2 -- run ARGS.json')
    const commands = parsed.values.hosts === undefined ? await here(parsed) : overSsh(parsed)
    return supervise(commands, {
      output: marked(terminal, parsed.values.json === true), grace: (parsed.values.grace as number | undefined ?? 15) * 1000,
      note: (line) => terminal.err(`launch: ${line}\n`),
    })
  },
}

const remoteOnly = ['ssh', 'here', 'program', 'env', 'master']

async function here({ values, positionals }: Parsed): Promise<RankCommand[]> {
  const without = remoteOnly.find((name) => name in values)
  if (without !== undefined) throw conflict([without, 'hosts'], `--${without} has no effect without --hosts`, `--hosts, or leave out --${without}`)
  const machine = readMachine()
  const ranks = await localRanks(values.ranks as number | undefined, machine.gpus, values.port as number | undefined)
  return localCommands(ranks, positionals, machine, process.env, values.cwd as string | undefined)
}

/** This machine's ranks: alone, or as one node of several that the environment tells of. */
async function localRanks(wanted: number | undefined, gpus: number, port: number | undefined): Promise<RankEnvironment[]> {
  const node = nodeFromEnvironment(process.env)
  if (node) return ranksOfNode(port === undefined ? node : { ...node, masterPort: port }, wanted ?? node.ranksPerNode ?? Math.max(1, gpus))
  const rank = rankFromEnvironment(process.env)
  if (rank) throw new PlanError('launch.conflict', `this process is rank ${rank.rank} of ${rank.worldSize} already, by the variables of ${rank.source}; start fettle run itself there, or unset them`, { ...rank })
  if (wanted === undefined) throw refusal('--ranks', 'a number of ranks, or --hosts', undefined, `--ranks ${gpus || 2}`)
  return ranksOfNode({ node: 0, nodes: 1, ranksPerNode: wanted, masterAddress: loopback, masterPort: port ?? await freePort(), source: 'fettle' }, wanted)
}

function overSsh({ values, positionals }: Parsed): RankCommand[] {
  if (values.ranks !== undefined) throw conflict(['ranks', 'hosts'], '--ranks is of this machine, and --hosts of others', '--hosts a:2,b:2')
  const runId = randomUUID()
  return remoteCommands(parseHosts(values.hosts as string), {
    words: positionals, ssh: sshWords(values.ssh as string | undefined, '--ssh'), here: values.here === true,
    program: values.program === undefined ? fettleProgram : splitWords(values.program as string, '--program'),
    cwd: values.cwd as string | undefined ?? process.cwd(), environment: handedOn(values.env as string | undefined),
    master: values.master as string | undefined, port: values.port as number | undefined ?? portOf(runId), runId,
  })
}

function handedOn(names: string | undefined): Record<string, string> {
  return Object.fromEntries((names?.split(',') ?? []).map((part) => {
    const name = part.trim(), value = process.env[name]
    if (!/^[A-Za-z_]\w*$/.test(name)) throw refusal('--env', 'names of variables', names, '--env HF_TOKEN,HF_HOME')
    if (value === undefined) throw new PlanError('plan.value', `expected a value of ${name}, which --env names, got nothing; export it, or leave it out of --env`, { name })
    if (/[\r\n]/.test(value)) throw refusal('--env', `one line in ${name}`, 'several', 'a file at the far end instead')
    return [name, value]
  }))
}

/** Lines marked with host and rank; with `json` stdout has rank 0's alone, as they are. */
function marked(terminal: Terminal, json: boolean): RankOutput {
  return {
    out: (rank, label, line) => {
      if (!json) terminal.out(`[${label}] ${line}`)
      else if (rank === 0) terminal.out(line)
      else terminal.err(`[${label}] ${line}`)
    },
    err: (_, label, line) => terminal.err(`[${label}] ${line}`),
  }
}
