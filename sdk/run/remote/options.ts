import { fettleProgram } from '../../parallel/launch/commands'
import { splitWords } from '../../parallel/launch/shell'
import { sshWords } from '../../parallel/launch/ssh'
import { refusal } from '../../plan/refuse'
import type { Tokens } from '../../secret'
import type { RunEvent } from '../events'

/** How a run on another host is reached. */
export interface RemoteOptions {
  /** ssh and its options, such as `'ssh -p 2222'`. Default: the variable FETTLE_SSH, else an ssh that never asks for a password. */
  readonly ssh?: string
  /** Fettle's command there, such as `'node_modules/.bin/fettle'`. Default: the same Node and folder as here. */
  readonly program?: string
  /** Folder there to begin in. Default: of `start()` the path of the one here, of `attach()` the user's home. */
  readonly cwd?: string
}

/** Options of `.start()` on other hosts. */
export interface RemoteStartOptions extends RemoteOptions {
  /** Hosts as ssh reaches them, each with its number of ranks: `['node1', 'me@node2:4']`; one rank where none is said. */
  readonly hosts: readonly string[]
  /** How the others reach the first host, where that is not its name in `hosts`. */
  readonly master?: string
  /** TCP port where ranks meet there. Default: one from 15000 to 24999, by chance. */
  readonly port?: number
  /** Called with each event as it comes. */
  readonly onEvent?: (event: RunEvent) => void
  /** The first host must answer, and its rank be up, within so many ms. Default 60000. */
  readonly startTimeout?: number
  /** Access tokens for the hubs that it fetches from and uploads to. Default: those of the environment there. */
  readonly tokens?: Tokens
  /** In a notebook: draw the run's board under the cell. Default true; `show(run)` draws it later. */
  readonly board?: boolean
}

/** The same, read. */
export interface Reach {
  readonly ssh: readonly string[]
  readonly program: readonly string[]
  /** `null`: where ssh begins. */
  readonly cwd: string | null
}

/** @param call whose options they are, such as `.start()` */
export function readReach({ ssh, program, cwd }: RemoteOptions, call: string): Reach {
  for (const [name, value] of Object.entries({ ssh, program, cwd })) {
    if (value !== undefined && (typeof value !== 'string' || value === '')) throw refusal(`${name} of ${call}`, 'a text', value, examples[name as keyof RemoteOptions])
  }
  return {
    ssh: sshWords(ssh, `ssh of ${call}`, examples.ssh), cwd: cwd ?? null,
    program: program === undefined ? fettleProgram : splitWords(program, `program of ${call}`, examples.program),
  }
}

const examples: Record<keyof RemoteOptions, string> = { ssh: "{ ssh: 'ssh -p 2222' }", program: "{ program: 'node_modules/.bin/fettle' }", cwd: "{ cwd: '/shared/work' }" }
