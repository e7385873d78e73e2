import { FettleError, serializeError } from '../errors'
import { clip } from '../views/format'

/** Where a command writes: results to `out`, the rest to `err`. */
export interface Terminal {
  out(text: string): void
  err(text: string): void
  /** True when a person watches `err`, so that a line may be drawn over. */
  readonly live: boolean
  readonly columns: number
  /** Stacks are printed with errors. */
  readonly debug: boolean
}

/** The process's own streams. A reader that leaves (`| head`) ends the command quietly. */
export function processTerminal(debug: boolean): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      // 128 + SIGPIPE, as of any program whose reader has gone.
      process.exit(141)
    })
  }
  return {
    out: (text) => { process.stdout.write(text) },
    err: (text) => { process.stderr.write(text) },
    live: process.stderr.isTTY === true && process.env.TERM !== 'dumb',
    columns: process.stderr.columns || 80,
    debug,
  }
}

/** One block: what is wrong, where, what to do; the stack only on demand. */
export function errorBlock(error: unknown, debug: boolean): string {
  const { message, code, stack, details } = serializeError(error)
  const lines = message.split('\n').flatMap((line) => (/^\s/.test(line) ? [line] : blockLines(line)))
  if (!(error instanceof FettleError) || code === 'internal') lines.push('  this is a fault of Fettle; run again with --debug and report what it prints')
  lines.push(`  (${code})`)
  if (debug && stack) lines.push(stack)
  if (debug && typeof details?.remoteStack === 'string') lines.push(`in the worker: ${details.remoteStack}`)
  return `error: ${lines.join('\n')}\n`
}

/** `file:3:5: what; try this` as three lines. */
function blockLines(line: string): string[] {
  const placed = /^(\S+:\d+(?::\d+)?): (.*)$/.exec(line)
  const [what, ...rest] = (placed ? placed[2] : line).split('; ')
  return [what, ...(placed ? [`  at ${placed[1]}`] : []), ...rest.map((part) => `  ${part}`)]
}

/** How far a step is: one line drawn over on a terminal, one plain line a stage elsewhere. */
export class StatusLine {
  readonly #terminal: Terminal
  #stage = ''
  #drawn = 0
  #printed = 0
  constructor(terminal: Terminal) { this.#terminal = terminal }

  /** `live` is drawn over; `plain` is printed when the stage is another (its figures aside), or each ten seconds. */
  show(stage: string, live: string, plain: string): void {
    if (this.#terminal.live) return this.draw(live)
    const name = stage.replace(/\d[\d.,]*/g, '')
    if (name === this.#stage && Date.now() - this.#printed < 10_000) return
    this.#terminal.err(`${plain}\n`)
    this.#stage = name
    this.#printed = Date.now()
  }

  /** Draws over the line before. */
  draw(text: string): void {
    const line = clip(text, this.#terminal.columns - 1)
    this.#terminal.err(`\r${line.padEnd(this.#drawn)}`)
    this.#drawn = [...line].length
  }

  clear(): void {
    if (this.#drawn > 0) this.#terminal.err(`\r${' '.repeat(this.#drawn)}\r`)
    this.#drawn = 0
  }
}
