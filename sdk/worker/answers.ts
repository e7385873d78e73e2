import { chatStopIds, type RowEncoder } from '../data/encode'
import { readRows } from '../data/rows'
import type { PreparedSplit } from '../data/dataset'
import type { Decoder } from '../models/decoder'
import type { GenerationPlan } from '../plan/plan'
import type { Tokenizer } from '../tokenizers'
import { AnswerText } from '../tokenizers/answer-text'
import { generateTokens } from '../train/generate'

/** A prompt of a `sample` event and what the data answers, where it is known. */
export interface SamplePrompt { readonly prompt: string; readonly reference: string | null }

/** What answering needs: the live weights and the words. */
export interface Speaker { readonly decoder: Decoder; readonly tokenizer: Tokenizer; readonly encoder: RowEncoder }

/** How many rows are sampled when the plan names no prompts. */
const rowsShown = 3

/** The plan's prompts, else the first rows of the held-out data (or of the training data). */
export function samplePrompts(prompts: readonly string[], split: PreparedSplit | null): SamplePrompt[] {
  if (prompts.length > 0 || split === null) return prompts.map((prompt) => ({ prompt, reference: null }))
  const found: SamplePrompt[] = []
  for (const row of readRows(split.sources)) {
    found.push({ prompt: row.src[0], reference: row.tgt[0] })
    if (found.length === rowsShown) break
  }
  return found
}

/** Who hears the answers. */
export interface Hearing {
  /** Takes text as it comes. */
  readonly onText?: (row: number, text: string) => void
  /** Asked after each token: nobody waits for the answer any more. */
  readonly isOver?: () => boolean
}

/** How prompts are put, and who hears the answers. */
export interface AnswerOptions extends Hearing {
  /** Put each prompt into the template that training uses; else it is continued as it stands. */
  readonly chat: boolean
}

/**
 * Answers all prompts beside each other on the weights as they are. A stop string ends its row and is not part of the
 * answer.
 */
export async function answer(speaker: Speaker, prompts: readonly string[], generation: GenerationPlan, { chat, ...hearing }: AnswerOptions): Promise<string[]> {
  const { decoder, tokenizer, encoder } = speaker, { eosIds } = decoder.parameters.architecture
  const ids = await Promise.all(prompts.map((prompt) => (chat ? encoder.prompt({ src: [prompt], tgt: [] }) : tokenizer.encode(prompt, { special: true }))))
  return continueAll(speaker, ids, { ...generation, stopIds: chat ? await chatStopIds(eosIds, tokenizer, encoder) : eosIds }, hearing)
}

/** What `answer` does, from ids. Where it is over before its end the texts are what came until then. */
export async function continueAll({ decoder, tokenizer }: Pick<Speaker, 'decoder' | 'tokenizer'>, prompts: readonly (readonly number[])[], generation: GenerationPlan & { readonly stopIds: readonly number[] }, { onText, isOver }: Hearing): Promise<string[]> {
  const { stop, ...options } = generation
  const rows = prompts.map((_, row) => new AnswerText(tokenizer, stop, (text) => onText?.(row, text)))
  for await (const token of generateTokens(decoder, prompts, options)) {
    rows[token.row].push(token.id)
    if (token.end !== null) rows[token.row].end()
    if (rows.every((row) => row.ended) || isOver?.()) break
  }
  return rows.map((row) => row.end())
}
