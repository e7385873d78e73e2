import { answerEnd, type RowEncoder } from '../data/encode'
import { readRows } from '../data/rows'
import type { PreparedSplit } from '../data/dataset'
import type { Decoder } from '../models/decoder'
import type { GenerationPlan } from '../plan/plan'
import type { Tokenizer } from '../tokenizers'
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

/** How prompts are put and who hears the answers. */
export interface AnswerOptions {
  /** Put each prompt into the template that training uses; else it is continued as it stands. */
  readonly chat: boolean
  /** Takes text as it comes. */
  readonly onText?: (row: number, text: string) => void
  /** Asked after each token: nobody waits for the answer any more. */
  readonly isOver?: () => boolean
}

/**
 * Answers all prompts beside each other on the weights as they are. A stop string ends its row and is not part of the
 * answer.
 */
export async function answer(speaker: Speaker, prompts: readonly string[], generation: GenerationPlan, { chat, onText, isOver }: AnswerOptions): Promise<string[]> {
  const { decoder, tokenizer, encoder } = speaker
  const ids = await Promise.all(prompts.map((prompt) => (chat ? encoder.prompt({ src: [prompt], tgt: [] }) : tokenizer.encode(prompt, { special: true }))))
  const rows = prompts.map((_, row) => new AnswerText(tokenizer, generation.stop, (text) => onText?.(row, text)))
  const { maxNewTokens, minNewTokens, temperature, topK, topP, seed } = generation
  // A template may end answers with another token than the one that the model's config names.
  const end = chat ? await answerEnd(tokenizer, encoder) : null
  const stopIds = [...new Set([...decoder.parameters.architecture.eosIds, ...(end === null ? [] : [end])])]
  for await (const token of generateTokens(decoder, ids, { maxNewTokens, minNewTokens, temperature, topK, topP, seed, stopIds })) {
    rows[token.row].push(token.id)
    if (token.end !== null) rows[token.row].end()
    if (rows.every((row) => row.ended) || isOver?.()) break
  }
  return rows.map((row) => row.end())
}

/** One answer as it grows. Text that may turn out to be the start of a stop string is held back until that is known. */
class AnswerText {
  ended = false
  private text = ''
  private shown = 0
  private readonly stream

  constructor(tokenizer: Tokenizer, private readonly stop: readonly string[], private readonly show: (text: string) => void) {
    this.stream = tokenizer.streamDecoder({ skipSpecial: true })
  }

  push(id: number): void {
    if (!this.ended) this.add(this.stream.push(id))
  }

  end(): string {
    if (!this.ended) {
      this.add(this.stream.flush())
      this.ended = true
      this.release(this.text.length)
    }
    return this.text
  }

  private add(piece: string): void {
    this.text += piece
    const found = this.stop.map((stop) => this.text.indexOf(stop)).filter((at) => at >= 0)
    if (found.length > 0) {
      this.text = this.text.slice(0, Math.min(...found))
      this.ended = true
    }
    this.release(this.ended ? this.text.length : this.text.length - this.held())
  }

  /** Length of the longest end of the text that begins a stop string. */
  private held(): number {
    return Math.max(0, ...this.stop.map((stop) => {
      for (let n = Math.min(stop.length - 1, this.text.length); n > 0; n--) if (this.text.endsWith(stop.slice(0, n))) return n
      return 0
    }))
  }

  private release(to: number): void {
    if (to <= this.shown) return
    this.show(this.text.slice(this.shown, to))
    this.shown = to
  }
}
