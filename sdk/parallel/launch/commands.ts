import * as net from 'node:net'
import * as path from 'node:path'
import { ranksOfHosts, type Host } from './hosts'
import { readMachine, type Machine } from './machine'
import { placeRank } from './place'
import { rankVariables } from './environment'
import type { RankEnvironment } from './rank'
import type { RankCommand } from './rank-process'
import { exportLine, remoteCommandLine } from './shell'

/** `fettle` itself: the Node that runs this, and the entry of the command line. */
export const fettleProgram: readonly string[] = [process.execPath, path.join(__dirname, '..', '..', '..', 'bin', 'fettle.js')]

/** Ranks on this machine, each bound to its share of the cores; `env` is the environment that they get beside their own variables. */
export function localCommands(ranks: readonly RankEnvironment[], words: readonly string[], machine: Machine, env: NodeJS.ProcessEnv, cwd?: string): RankCommand[] {
  return ranks.map((rank) => {
    // GPUs are chosen by the run, which knows whether it wants any.
    const { prefix, environment } = placeRank(machine, rank.localRank, rank.localWorldSize, 'cpu')
    const [program, ...args] = [...prefix, ...fettleProgram, ...words]
    return { rank: rank.rank, label: String(rank.rank), program, args, cwd, remote: false, env: { ...environment, ...env, ...rankVariables(rank), ...(prefix.length > 0 && { FETTLE_BOUND: 'cores' }) } }
  })
}

/** Ranks on several machines, one connection each. */
export function remoteCommands(hosts: readonly Host[], options: {
  readonly words: readonly string[]
  /** `ssh`, with its options. */
  readonly ssh: readonly string[]
  /** Fettle's command at the far end. */
  readonly program: readonly string[]
  readonly cwd: string
  /** Variables to hand on; they go down the connection's input, and no process list shows them. */
  readonly environment: Readonly<Record<string, string>>
  readonly master?: string
  readonly port: number
  readonly runId: string
  /** The first one is this machine: its ranks need no connection. */
  readonly here?: boolean
}): RankCommand[] {
  const { words, ssh: [program, ...sshArgs], cwd, environment } = options
  const placed = ranksOfHosts(hosts, options), near = options.here === true ? hosts[0].slots : 0
  const local = near === 0 ? [] : localCommands(placed.slice(0, near).map(({ rank }) => rank), words, readMachine(), process.env, cwd)
  return [...local, ...placed.slice(near).map(({ host, rank }): RankCommand => {
    const line = remoteCommandLine({ cwd, environment: rankVariables(rank), words: [...options.program, ...words] })
    return { rank: rank.rank, label: `${host.address} ${rank.rank}`, program, args: [...sshArgs, host.target, line], env: process.env, remote: true, input: exportLine(environment) }
  })]
}

/** A TCP port of this machine's loopback that nobody has now. */
export async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
