import type { NewEvent } from '../reporter'

/** A figure at a step, by its name as other tools show it. */
export interface Scalar { readonly name: string; readonly step: number; readonly value: number }

/** Takes the figures of a run as they come, for another program to show. */
export interface ScalarLog {
  write(scalars: readonly Scalar[], time: number): void
  /** The run is over. */
  close(outcome: 'finished' | 'failed'): void
}

/** The figures that an event carries: of steps as `train/…`, of evaluations as `eval/…`. */
export function scalarsOf(event: NewEvent): Scalar[] {
  if (event.type === 'step') {
    const { step, loss, learningRate, gradNorm, tokensPerSecond, memory, epoch } = event
    return named('train', step, { loss, learning_rate: learningRate, grad_norm: gradNorm, tokens_per_second: tokensPerSecond, memory_mib: memory, epoch })
  }
  if (event.type !== 'eval' && event.type !== 'predict') return []
  const { atStep, loss, perplexity, accuracy, bleu4, rouge1, rouge2, rougel } = event
  return named(event.type === 'eval' ? 'eval' : 'test', atStep, { loss, ppl: perplexity, accuracy, bleu4, rouge1, rouge2, rougel })
}

function named(group: string, step: number, values: Readonly<Record<string, number | undefined>>): Scalar[] {
  return Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [{ name: `${group}/${name}`, step, value }]))
}
