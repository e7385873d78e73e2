import { constants } from 'node:os'
import { RankProcess, type RankCommand, type RankOutput } from './rank-process'

/** How ranks are watched. */
export interface SuperviseOptions {
  readonly output: RankOutput
  /** Ms that the other ranks have to end after the first failure, until they are killed. */
  readonly grace: number
  /** Told of failures and signals, in one line. */
  readonly note: (line: string) => void
}

const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Starts ranks and waits for them all. The first failure wins: the others are asked to end, killed after `grace`, and its exit
 * code is the result. SIGINT, SIGTERM and SIGHUP are passed on as SIGTERM, so that each rank can save; a second one kills, and the
 * result is 128 and the first signal's number. Rejects with an `EnvironmentError` where a rank cannot be started.
 */
export async function supervise(commands: readonly RankCommand[], { output, grace, note }: SuperviseOptions): Promise<number> {
  let result = 0, stopping = false, timer: NodeJS.Timeout | undefined
  const ranks = commands.map((command) => new RankProcess(command, output))
  const all = (signal: 'SIGTERM' | 'SIGKILL') => { for (const rank of ranks) rank.signal(signal) }
  const endOthers = () => {
    stopping = true
    all('SIGTERM')
    timer ??= setTimeout(() => all('SIGKILL'), grace)
  }
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) return all('SIGKILL')
    stopping = true
    result = 128 + constants.signals[signal]
    note('asking every rank to end; once more to kill them')
    all('SIGTERM')
  }
  for (const signal of passedOn) process.on(signal, onSignal)
  try {
    const ends = await Promise.allSettled(ranks.map(async (rank) => {
      const code = await rank.done.catch((error: unknown) => { endOthers(); throw error })
      if (code === 0 || stopping) return
      result = code
      note(`rank ${rank.command.rank} (${rank.command.label}) ended with code ${code}; ending the others`)
      endOthers()
    }))
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed) throw failed.reason
    return result
  } finally {
    clearTimeout(timer)
    for (const signal of passedOn) process.off(signal, onSignal)
  }
}
