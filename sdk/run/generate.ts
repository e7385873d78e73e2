import type { GenerationOptions } from '../plan/options'
import type { GenerationPlan, Plan } from '../plan/plan'
import { conflict, refusal } from '../plan/refuse'
import { readOptions } from '../plan/read'
import type { RuleName } from '../plan/rules'
import type { GenerateOptions } from './handle'

/** Checks what `generate` got, and fills in the plan's own settings. */
export function readGenerateOptions(plan: Plan, prompt: string | readonly string[], options: GenerateOptions): { prompts: string[]; generation: GenerationPlan; chat: boolean } {
  const prompts = typeof prompt === 'string' ? [prompt] : prompt
  if (!Array.isArray(prompts) || prompts.length === 0 || prompts.some((text) => typeof text !== 'string')) {
    throw refusal('.generate()', 'a prompt or a list of prompts', prompt, ".generate('Hello!')")
  }
  const { onToken, chat = plan.data.template !== 'none', ...rest } = options
  if (onToken !== undefined && typeof onToken !== 'function') throw refusal('onToken of .generate()', 'a function', onToken, '.generate(prompt, { onToken: (text) => … })')
  if (typeof chat !== 'boolean') throw refusal('chat of .generate()', 'true or false', chat, '.generate(prompt, { chat: false })')
  return { prompts: [...prompts], generation: generationOf(plan.sample.generation, readOptions('generate', rest, generationRules), '.generate(prompt, '), chat }
}

/** The rule of each generation option. */
export const generationRules = {
  maxNewTokens: 'generation.maxNewTokens', minNewTokens: 'generation.minNewTokens', temperature: 'generation.temperature',
  topK: 'generation.topK', topP: 'generation.topP', seed: 'generation.seed', stop: 'generation.stop',
} as const satisfies Record<keyof GenerationOptions, RuleName>

/** Settings with what a caller said in their place. @throws PlanError `plan.conflict` */
export function generationOf(settings: GenerationPlan, said: GenerationOptions, call: string): GenerationPlan {
  const generation: GenerationPlan = { ...settings, ...said }
  if (generation.minNewTokens > generation.maxNewTokens) {
    throw conflict(['minNewTokens', 'maxNewTokens'], `minNewTokens ${generation.minNewTokens} is above maxNewTokens ${generation.maxNewTokens}`, `${call}{ maxNewTokens: ${generation.minNewTokens} })`)
  }
  return generation
}

/** Pieces between the pipe that brings them and the loop that reads them. */
export class PieceQueue<T> implements AsyncIterable<T> {
  readonly #onLeft: () => void
  readonly #pieces: T[] = []
  #ended = false
  #error: Error | null = null
  #wake: () => void = () => {}

  /** @param onLeft called when the reader leaves before the end */
  constructor(onLeft: () => void = () => {}) { this.#onLeft = onLeft }

  push(piece: T): void { this.#pieces.push(piece); this.#wake() }
  end(): void { this.#ended = true; this.#wake() }
  fail(error: Error): void { this.#error = error; this.end() }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        if (this.#pieces.length > 0) yield this.#pieces.shift()!
        else if (this.#error) throw this.#error
        else if (this.#ended) return
        else await new Promise<void>((resolve) => { this.#wake = resolve })
      }
    } finally {
      if (!this.#ended) this.#onLeft()
    }
  }
}
