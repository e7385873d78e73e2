import type { SampleEvent } from '../run/events'
import { start } from './format'
import type { BoardSamples } from './state'

const shownPrompts = 8
const shownAnswers = 30
const shownText = 600

/** About `limit` of the items, at even distances that are powers of two, so that they do not change with each new one; the first and last stay. */
export function spread<T>(items: readonly T[], limit: number): T[] {
  let stride = 1
  while (items.length / stride > limit - 1) stride *= 2
  return items.filter((_, i) => i % stride === 0 || i === items.length - 1)
}

/** Samplings by step (a later one of the same step counts) as the board shows them. */
export function samplesOf(samplings: readonly SampleEvent[]): BoardSamples {
  const byStep = new Map(samplings.map((event) => [event.atStep, event]))
  const events = [...byStep.values()].sort((a, b) => a.atStep - b.atStep)
  const newest = events.at(-1)
  if (!newest) return { prompts: [], more: 0, at: [] }
  const prompts = newest.samples.slice(0, shownPrompts)
  return {
    prompts: prompts.map(({ prompt, reference }) => ({ prompt: start(prompt, shownText), reference: reference === null ? null : start(reference, shownText) })),
    more: newest.samples.length - prompts.length,
    at: spread(events, shownAnswers).map(({ atStep, samples }) => {
      const answers = new Map(samples.map(({ prompt, answer }) => [prompt, answer]))
      return { step: atStep, untouched: atStep === 0, answers: prompts.map(({ prompt }) => start(answers.get(prompt) ?? '', shownText)) }
    }),
  }
}
