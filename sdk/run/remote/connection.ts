import { spawn, type ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { EnvironmentError } from '../../errors'
import { noSuchFolder, plainCommandLine, quoteAll } from '../../parallel/launch/shell'
import { JsonLines } from '../control'
import type { Reach } from './options'
import { firstWords, type FromRelay, type ToRelay } from './protocol'

/** Characters of a line that may come. */
const longestLine = 256 * 2 ** 20
/** Characters that are kept of what the far end says beside its messages. */
const longestTail = 4096

/** How ssh, or the command at its far end, ended. */
export interface End {
  /** `null` where a signal ended it, or where it could not be started. */
  readonly code: number | null
  /** Why it could not be started. */
  readonly cause?: NodeJS.ErrnoException
  /** What was said on its standard error, or what stood in the place of messages. */
  readonly said: string
}

interface Listener {
  onMessage(message: FromRelay): void
  onEnd(end: End): void
}

/** `fettle relay` at the far end of ssh. */
export class Connection {
  readonly #child: ChildProcess

  /** @param words behind `fettle` */
  constructor(target: string, reach: Reach, words: readonly string[], listener: Listener) {
    this.#child = spawnSsh(target, reach, words)
    const lines = new JsonLines(longestLine)
    let spoken = false, before = '', said = '', cause: NodeJS.ErrnoException | undefined
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      try {
        if (!spoken) {
          const all = before + text, from = all.indexOf(firstWords)
          before = all.slice(0, from < 0 ? undefined : from).slice(-longestTail)
          if (from < 0) return
          spoken = true
          text = all.slice(from)
        }
        for (const message of lines.push(text)) listener.onMessage(message as FromRelay)
      } catch { this.close() } // not the protocol
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-longestTail) })
    this.#child.stdin!.on('error', () => { /* 'close' follows. */ })
    this.#child.on('error', (error) => { cause = error })
    this.#child.on('close', (code) => listener.onEnd({ code, cause, said: said.trim() || (spoken ? '' : before.trim()) }))
  }

  send(message: ToRelay): void { this.#child.stdin!.write(`${JSON.stringify(message)}\n`) }

  /** Ends it; nothing that the relay watches ends with it. */
  close(): void {
    this.#child.stdin!.destroy()
    this.#child.kill()
  }

  /** Whether this process stays alive for it. */
  keep(wait: boolean): void {
    for (const handle of [this.#child, this.#child.stdin, this.#child.stdout, this.#child.stderr] as (ChildProcess | Socket)[]) {
      if (wait) handle.ref()
      else handle.unref()
    }
  }
}

function spawnSsh(target: string, { ssh: [program, ...options], program: fettle, cwd }: Reach, words: readonly string[]): ChildProcess {
  // A process group of its own: Ctrl-C at the terminal, and a notebook's interrupt, are not for it.
  return spawn(program, [...options, target, plainCommandLine(cwd, [...fettle, ...words])], { detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
}

/**
 * Asks a host for Fettle's version, to know that it can be reached and has Fettle.
 * @throws EnvironmentError
 */
export function probe(target: string, reach: Reach): Promise<void> {
  const child = spawnSsh(target, reach, ['--version'])
  let said = '', cause: NodeJS.ErrnoException | undefined
  child.stdin!.on('error', () => { /* 'close' follows. */ }).end()
  child.stdout!.resume()
  child.stderr!.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-longestTail) })
  child.on('error', (error) => { cause = error })
  return new Promise((resolve, reject) => child.on('close', (code) => {
    if (code === 0) resolve()
    else reject(noFarEnd(target, reach, { code, cause, said: said.trim() }))
  }))
}

/** Why there is no Fettle at the far end. */
export function noFarEnd(target: string, { ssh, program, cwd }: Reach, { code, cause, said }: End): EnvironmentError {
  const details = { host: target, exitCode: code, said }, more = said === '' ? '' : `:\n${said.replace(/^/gm, '    ')}`
  if (cause !== undefined) return new EnvironmentError('remote.ssh', `cannot run ${ssh[0]} to reach ${target}: ${cause.message}; install it, or name another, such as { ssh: 'ssh -p 2222' }`, details, { cause })
  if (code === 255) return new EnvironmentError('remote.ssh', `${ssh[0]} does not reach ${target}; try ${quoteAll([...ssh, target, 'true'])} at a terminal, which must need no password${more}`, details)
  if (code === noSuchFolder) return new EnvironmentError('remote.folder', `expected the folder ${cwd} on ${target}, found none; name another with { cwd: '/folder' }${more}`, { ...details, cwd })
  return new EnvironmentError('remote.program', `expected Fettle on ${target}, but ${quoteAll(program)} ${code === null ? 'was killed' : `ended with code ${code}`} there; install the same version, or name it with { program: '/path/to/fettle' }${more}`, { ...details, program })
}
