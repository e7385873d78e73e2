import { digits, duration, percent, whole } from './format'
import type { BoardState } from './state'

export const statusWords: Readonly<Record<BoardState['status'], string>> = {
  preparing: 'Preparing', training: 'Training', paused: 'Paused', stopping: 'Stopping', done: 'Done', stopped: 'Stopped', failed: 'Failed', crashed: 'Crashed', lost: 'Connection lost',
}

/** Whether nothing more will come, to this display at least. */
export function isOver(status: BoardState['status']): boolean {
  return status === 'done' || status === 'stopped' || status === 'failed' || status === 'crashed' || status === 'lost'
}

/** What stands where there is no number yet. */
export const nothing = '–'

export const figureNames = ['Step', 'Epoch', 'Loss', 'Held-out', 'Tokens/s', 'Time', 'Left'] as const

/** The numbers under the bar, as text; always the same ones. */
export function figureTexts(state: BoardState): Readonly<Record<typeof figureNames[number], string>> {
  const { step, totalSteps, epoch, epochs, loss, evals, tokensPerSecond, elapsed, left } = state
  const of = (value: number | null, write: (value: number) => string) => (value === null ? nothing : write(value))
  return {
    Step: totalSteps > 0 ? `${whole(step)} / ${whole(totalSteps)}` : nothing,
    Epoch: step === 0 ? nothing : epochs > 0 ? `${epoch.toFixed(2)} / ${Number(epochs.toFixed(2))}` : epoch.toFixed(2),
    Loss: of(loss, (value) => digits(value, 4)),
    'Held-out': of(evals.at(-1)?.loss ?? null, (value) => digits(value, 4)),
    'Tokens/s': of(tokensPerSecond, whole),
    Time: elapsed > 0 ? duration(elapsed) : nothing,
    Left: of(left, duration),
  }
}

/** Share of the bar that is filled, or `null` where nobody knows. */
export function shareOf({ preparing, step, totalSteps }: BoardState): number | null {
  if (preparing) return preparing.total ? Math.min(1, preparing.done / preparing.total) : null
  return totalSteps > 0 ? Math.min(1, step / totalSteps) : 0
}

/** The state in one sentence. */
export function sentence(state: BoardState): string {
  const word = statusWords[state.status]
  if (state.preparing) return `${word}: ${stageText(state)}`
  if (state.totalSteps === 0) return word
  const loss = state.loss === null ? '' : `, loss ${digits(state.loss, 4)}`
  const left = state.left === null ? '' : `, ${duration(state.left)} left`
  return `${word}, step ${whole(state.step)} of ${whole(state.totalSteps)}${loss}${left}`
}

/** What goes on while there are no steps. */
export function stageText({ status, preparing, step }: BoardState): string {
  if (preparing) {
    const { stage, done, total } = preparing
    return total ? `${stage}, ${whole(done)} of ${whole(total)}` : done > 0 ? `${stage}, ${whole(done)}` : stage
  }
  return status === 'preparing' ? 'starting' : status === 'training' && step === 0 ? 'first step' : ''
}

/** What a run came to, in words: before and after on the held-out rows, and where the weights are. */
export function outcome({ evals, saved, tokensPerSecond, ranks }: BoardState): string[] {
  const [first, last] = [evals[0], evals.at(-1)]
  const lines: string[] = []
  if (first && last && first !== last) {
    const loss = first.loss !== null && last.loss !== null ? `held-out loss ${digits(first.loss, 4)} → ${digits(last.loss, 4)}` : ''
    const accuracy = first.accuracy !== null && last.accuracy !== null ? `token accuracy ${percent(first.accuracy)} → ${percent(last.accuracy)}` : ''
    lines.push([loss, accuracy].filter(Boolean).join(', '))
  }
  const memory = ranks.find((rank) => rank.memory !== null)?.memory
  const speed = [tokensPerSecond === null ? '' : `${whole(tokensPerSecond)} tokens/s`, memory ? `${whole(memory)} MiB` : ''].filter(Boolean).join(', ')
  if (speed) lines.push(speed)
  const final = saved.at(-1)
  if (final) lines.push(`saved in ${final.path}${final.final ? '' : ` (step ${whole(final.step)})`}`)
  return lines
}

/** A path as one reads it beside the run's folder: checkpoints inside it by their names. */
export function pathInRun(path: string, dir: string): string {
  return dir !== '' && path.startsWith(`${dir}/`) ? path.slice(dir.length + 1) : path
}
