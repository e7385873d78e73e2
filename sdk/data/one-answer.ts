import type { ChatMessage, ChatTemplate, Tokenizer } from '../tokenizers'
import type { EncodedRow, FittedPrompt, Rounds, RowEncoder, TemplateSettings } from './encode'
import { PlainEncoder } from './plain'

/**
 * True for tokenizers that put marks behind a source, as GLM's [gMASK] and <sop>: the answer begins there, and a sequence
 * has one.
 */
export function opensAnswers({ added, eosId }: Pick<Tokenizer, 'added' | 'eosId'>): boolean { return added.after.some(id => id !== eosId) }

/**
 * Rows of models that see their prompt whole: one prompt and one answer a sequence. A row of several rounds becomes a
 * sequence a round, whose prompt holds the rounds before it: no answer is lost, and none is trained where the model sees what
 * comes after. Prompts are written by the chat template, or joined with line ends where there is none; too long, they lose
 * their left end, the oldest rounds.
 */
export class OneAnswerEncoder implements RowEncoder {
  readonly kind: RowEncoder['kind']
  private readonly plain: PlainEncoder

  constructor(private readonly tokenizer: Tokenizer, private readonly template: ChatTemplate | null, private readonly settings: TemplateSettings) {
    this.kind = template === null ? 'plain' : 'chat'
    this.plain = new PlainEncoder(tokenizer, settings)
  }

  split({ src, tgt }: Rounds): readonly Rounds[] {
    return src.map((_, round) => ({ src: src.slice(0, round + 1), tgt: tgt.slice(0, round + 1) }))
  }

  /** Trains the last answer of each row. */
  encode(rows: readonly Rounds[]): Promise<EncodedRow[]> {
    return this.plain.encode(rows.map(row => ({ src: [this.promptText(row)], tgt: [row.tgt[row.tgt.length - 1]] })))
  }

  async prompt(rounds: Rounds): Promise<number[]> { return (await this.fitPrompt(rounds)).ids }

  fitPrompt(rounds: Rounds): Promise<FittedPrompt> { return this.plain.fitPrompt({ src: [this.promptText(rounds)], tgt: [] }) }

  under(changes: Partial<Omit<TemplateSettings, 'template'>>): RowEncoder { return new OneAnswerEncoder(this.tokenizer, this.template, { ...this.settings, ...changes }) }

  notes(): readonly string[] { return [] }

  /** All that stands before the last answer. */
  private promptText({ src, tgt }: Rounds): string {
    if (this.template === null) return src.map((text, i) => (i < src.length - 1 ? `${text}\n${tgt[i]}\n` : text)).join('')
    const messages: ChatMessage[] = this.settings.system === null ? [] : [{ role: 'system', content: this.settings.system }]
    src.forEach((content, i) => {
      messages.push({ role: 'user', content })
      if (i < src.length - 1) messages.push({ role: 'assistant', content: tgt[i] })
    })
    // The tokenizer puts its marks itself; a template that writes them too would double them.
    const marks = this.tokenizer.added.after.map(id => this.tokenizer.tokenOf(id))
    return marks.reduceRight((text, mark) => (text.endsWith(mark) ? text.slice(0, -mark.length).trimEnd() : text), this.template.render(messages, { addGenerationPrompt: true }))
  }
}
