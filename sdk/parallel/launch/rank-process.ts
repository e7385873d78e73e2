import { spawn, type ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import { EnvironmentError } from '../../errors'
import { eachLine } from './lines'

/** One rank to start. */
export interface RankCommand {
  readonly rank: number
  /** How its lines are marked: `node1 3`, or `3`. */
  readonly label: string
  readonly program: string
  readonly args: readonly string[]
  readonly cwd?: string
  /** The whole environment of `program`. */
  readonly env: NodeJS.ProcessEnv
  /** `program` is ssh or its like: signals go down its input, to the command at the far end. */
  readonly remote: boolean
  /** Written to its input first, where it is remote. */
  readonly input?: string
}

/** Where the lines of ranks go. */
export interface RankOutput {
  out(rank: number, label: string, line: string): void
  err(rank: number, label: string, line: string): void
}

/** A rank that was started here, or at the far end of ssh. */
export class RankProcess {
  readonly command: RankCommand
  /** Its exit code, of a signal 128 and its number; rejects where the program could not be started. */
  readonly done: Promise<number>
  readonly #child: ChildProcess
  #ended = false

  constructor(command: RankCommand, output: RankOutput) {
    this.command = command
    const { program, args, cwd, env, remote, rank, label } = command
    // A process group of its own: Ctrl-C at the terminal reaches the launcher alone, which tells the ranks once.
    this.#child = spawn(program, args, { cwd, env, detached: true, stdio: [remote ? 'pipe' : 'ignore', 'pipe', 'pipe'] })
    this.#child.stdin?.on('error', () => { /* ssh ended before it was told to: its exit is reported. */ })
    if (command.input !== undefined) this.#child.stdin?.write(command.input)
    eachLine(this.#child.stdout!, (line) => output.out(rank, label, line))
    eachLine(this.#child.stderr!, (line) => output.err(rank, label, line))
    this.done = new Promise((resolve, reject) => {
      this.#child.on('error', (cause) => {
        this.#ended = true
        reject(new EnvironmentError('launch.start', `rank ${rank} cannot be started: ${program} ${(cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'or its folder is not there' : cause.message}; install it, or name another`, { rank, program }, { cause }))
      })
      this.#child.on('close', (code, signal) => {
        this.#ended = true
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
      })
    })
  }

  /** Asks it to end, or with SIGKILL ends it. */
  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#ended || this.#child.pid === undefined) return
    if (!this.command.remote) {
      if (signal === 'SIGTERM') this.#child.kill(signal)
      else killGroup(this.#child.pid)
      return
    }
    this.#child.stdin!.write(`${signal.slice(3)}\n`)
    // The far end has had its order; an ssh that hangs should not keep the launcher.
    if (signal === 'SIGKILL') setTimeout(() => { if (!this.#ended) killGroup(this.#child.pid!) }, 3000).unref()
  }
}

function killGroup(pid: number): void {
  try { process.kill(-pid, 'SIGKILL') } catch (error) { if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error }
}
