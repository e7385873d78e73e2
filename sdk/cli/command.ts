import type { Flag, Parsed } from './flags'
import type { Terminal } from './terminal'

/** One command of `fettle`. */
export interface Command {
  readonly name: string
  readonly summary: string
  /** Lines of usage, without `fettle`. */
  readonly usage: readonly string[]
  readonly flags: readonly Flag[]
  /** More for `fettle help <command>`. */
  readonly details?: () => string
  /** Does the work and gives the exit code. */
  readonly run: (parsed: Parsed, terminal: Terminal) => Promise<number>
}
