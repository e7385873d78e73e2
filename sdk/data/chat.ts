import type { ChatMessage, ChatTemplate, Mark, Tokenizer } from '../tokenizers'
import { ChatRenderer } from './chat-renderer'
import { difference, renderSpans, type AnswerSpan } from './chat-spans'
import { IGNORED } from './dataset'
import type { EncodedRow, FittedPrompt, Rounds, RowEncoder, TemplateSettings } from './encode'

/** Token range of an answer: [start, end) is trained, end of turn included. */
interface Trained { readonly start: number; readonly end: number }

interface EncodedChat {
  readonly ids: Int32Array
  readonly trained: readonly Trained[]
  /** Of a single long round: its prompt as it stands in the whole, so that cutting it needs no second encoding. */
  readonly prompt?: EncodedPrompt
}

interface EncodedPrompt {
  readonly text: string
  readonly ids: Int32Array
  /** Token range of the user's own text. */
  readonly own: readonly [number, number]
}

/** Texts of more characters than this for each token that is kept take long to encode, and are hardly ever kept whole. */
const longText = 8

/**
 * Chats: the whole conversation is rendered and encoded once, and the answers are found in it. Rounds are kept from the
 * last backwards while they fit in maxLength. The last is always kept; alone and too long, its prompt is cut to srcLength
 * (inside the user's own text, from the left, so that the template's marks stay) and its answer to what is left.
 */
export class ChatEncoder implements RowEncoder {
  readonly kind = 'chat'
  private readonly odd = new Set<string>()
  private readonly renderer: ChatRenderer

  constructor(private readonly tokenizer: Tokenizer, private readonly template: ChatTemplate, private readonly settings: TemplateSettings) {
    this.renderer = new ChatRenderer(template)
  }

  async encode(rows: readonly Rounds[]): Promise<EncodedRow[]> {
    const chats = await this.encodeChats(rows)
    return Promise.all(chats.map((chat, i) => chat.ids.length <= this.settings.maxLength ? finish(chat, false) : this.shorten(rows[i], chat)))
  }

  async prompt(rounds: Rounds): Promise<number[]> { return (await this.fitPrompt(rounds)).ids }

  /** Earlier rounds go first, as in training; a last one that is too long is cut like a trained one. */
  async fitPrompt({ src, tgt }: Rounds): Promise<FittedPrompt> {
    const last = src.length - 1, { maxLength } = this.settings
    for (let from = 0; from < last; from++) {
      const ids = await this.encodeRendered(this.template.render(this.messages({ src: src.slice(from), tgt: tgt.slice(from, last) }), { addGenerationPrompt: true }))
      if (ids.length < maxLength) return { ids, dropped: from, cut: false }
    }
    const text = this.template.render(this.messages({ src: [src[last]], tgt: [] }), { addGenerationPrompt: true })
    // A text with no more characters than there is room for is hardly ever cut: its question need not be looked for.
    const marked = text.length < maxLength ? null : this.promptText(src[last])
    if (marked?.text === text) {
      const whole = await this.encodePrompt(marked)
      return whole.ids.length < maxLength ? { ids: [...whole.ids], dropped: last, cut: false } : { ids: [...this.cut(whole)], dropped: last, cut: true }
    }
    const ids = await this.encodeRendered(text)
    return ids.length < maxLength ? { ids, dropped: last, cut: false } : { ids: [...await this.cutPrompt(src[last])], dropped: last, cut: true }
  }

  under(changes: Partial<Omit<TemplateSettings, 'template'>>): RowEncoder { return new ChatEncoder(this.tokenizer, this.template, { ...this.settings, ...changes }) }

  split(row: Rounds): readonly Rounds[] { return [row] }

  notes(): readonly string[] { return [...this.odd] }

  private messages({ src, tgt }: Rounds): ChatMessage[] {
    const messages: ChatMessage[] = this.settings.system === null ? [] : [{ role: 'system', content: this.settings.system }]
    src.forEach((content, i) => {
      messages.push({ role: 'user', content })
      if (i < tgt.length) messages.push({ role: 'assistant', content: tgt[i] })
    })
    return messages
  }

  private encodeRendered(text: string): Promise<number[]> { return this.tokenizer.encode(text, { rendered: true }) }

  private async encodeChats(rows: readonly Rounds[]): Promise<EncodedChat[]> {
    const chats = rows.map(row => {
      const chat = this.renderer.render(this.messages(row))
      const prompt = row.src.length === 1 && chat.text.length > longText * this.settings.maxLength ? this.promptText(row.src[0]) : null
      const own = prompt !== null && chat.text.startsWith(prompt.text) && chat.answers[0].start === prompt.text.length ? prompt : null
      return { ...chat, own, marks: [...own?.marks ?? [], ...chat.answers.flatMap(marksOf)] }
    })
    const encoded = await this.tokenizer.encodeMarked(chats)
    return encoded.map(({ ids, cuts }, i) => {
      const { own } = chats[i]
      if (own === null) return this.findTurns(ids, cuts)
      return { ...this.findTurns(ids, cuts.slice(2)), prompt: { text: own.text, ids: ids.subarray(0, cuts[2]), own: [cuts[0], cuts[1]] } }
    })
  }

  /** The prompt of one question, and where the question stands in it. */
  private promptText(question: string): { text: string; marks: readonly Mark[] } {
    const promptOf = (src: string): string => {
      const { text, answers } = renderSpans(this.template, this.messages({ src: [src], tgt: ['x'] }))
      return text.slice(0, answers[0].start)
    }
    const text = promptOf(question)
    const { start, end } = difference(text, promptOf('x'))
    return { text, marks: [{ at: start, split: false }, { at: end, split: false }] }
  }

  /**
   * True when the prompt alone has the ids that it has before its answer. Special tokens divide a text for the tokenizer,
   * so what follows the last of them decides.
   */
  private async standsAlone({ text, ids }: EncodedPrompt): Promise<boolean> {
    let last = ids.length - 1
    while (last >= 0 && !this.tokenizer.specialIds.has(ids[last])) last--
    const at = last < 0 ? -1 : text.lastIndexOf(this.tokenizer.tokenOf(ids[last]))
    if (at < 0 || text.length - at > 1000) return false
    const alone = await this.encodeRendered(text.slice(at))
    return alone.length === ids.length - last && alone.every((id, i) => id === ids[last + i])
  }

  /** @param cuts three an answer: its start, the end of its text, the end of all that the template writes for it */
  private findTurns(ids: Int32Array, cuts: readonly number[]): EncodedChat {
    let all = ids
    const trained: Trained[] = []
    for (let a = 0; a < cuts.length; a += 3) {
      const [start, contentEnd, end] = cuts.slice(a, a + 3)
      const turnEnd = firstSpecial(ids, this.tokenizer.specialIds, contentEnd, end)
      const needsEos = turnEnd < 0 && a + 3 === cuts.length && this.tokenizer.eosId !== null
      if (needsEos) {
        this.odd.add('the chat template ends answers with no special token; the end-of-text token is put after the last answer, so that the model learns to stop')
        all = Int32Array.from([...ids.subarray(0, contentEnd), this.tokenizer.eosId!])
      }
      trained.push({ start, end: turnEnd >= 0 ? turnEnd + 1 : needsEos ? contentEnd + 1 : contentEnd })
    }
    return { ids: all, trained }
  }

  private async shorten(row: Rounds, whole: EncodedChat): Promise<EncodedRow> {
    // The fewest first rounds to leave out, by halving; each try renders the rest anew, so that it reads as a whole chat.
    let fewest = row.src.length - 1
    let best = fewest === 0 ? whole : null
    for (let low = 1, high = fewest; low <= high;) {
      const middle = (low + high) >> 1
      const [chat] = await this.encodeChats([{ src: row.src.slice(middle), tgt: row.tgt.slice(middle) }])
      const fits = chat.ids.length <= this.settings.maxLength
      if (fits || middle === row.src.length - 1) { best = chat; fewest = middle }
      if (fits) high = middle - 1
      else low = middle + 1
    }
    return best!.ids.length <= this.settings.maxLength ? finish(best!, true) : this.cutLast(row, best!)
  }

  private async cutLast({ src }: Rounds, chat: EncodedChat): Promise<EncodedRow> {
    const [{ start, end }] = chat.trained
    const known = chat.prompt !== undefined && await this.standsAlone(chat.prompt)
    const prompt = known ? this.cut(chat.prompt!) : await this.cutPrompt(src[src.length - 1])
    const answer = chat.ids.subarray(start, start + Math.max(0, this.settings.maxLength - prompt.length))
    const ids = new Int32Array(prompt.length + answer.length)
    ids.set(prompt)
    ids.set(answer, prompt.length)
    return finish({ ids, trained: [{ start: prompt.length, end: Math.min(ids.length, prompt.length + end - start) }] }, true)
  }

  /** The prompt of one question in at most srcLength tokens: the question loses its left end, then the whole prompt does. */
  private async cutPrompt(question: string): Promise<Int32Array> {
    return this.cut(await this.encodePrompt(this.promptText(question)))
  }

  private async encodePrompt(marked: { readonly text: string; readonly marks: readonly Mark[] }): Promise<EncodedPrompt> {
    const [{ ids, cuts }] = await this.tokenizer.encodeMarked([marked])
    return { text: marked.text, ids, own: [cuts[0], cuts[1]] }
  }

  private cut({ ids, own: [from, to] }: EncodedPrompt): Int32Array {
    const over = ids.length - this.settings.srcLength
    if (over <= 0) return ids
    const gone = Math.min(over, to - from)
    const kept = new Int32Array(ids.length - gone)
    kept.set(ids.subarray(0, from))
    kept.set(ids.subarray(from + gone), from)
    return kept.slice(Math.max(0, kept.length - this.settings.srcLength))
  }
}

function finish({ ids, trained }: EncodedChat, truncated: boolean): EncodedRow {
  const labels = new Int32Array(ids.length).fill(IGNORED)
  for (const { start, end } of trained) labels.set(ids.subarray(start, end), start)
  return { ids, labels, truncated }
}

function marksOf({ start, contentEnd, end }: AnswerSpan): Mark[] {
  return [{ at: start, split: true }, { at: contentEnd, split: false }, { at: end, split: false }]
}

function firstSpecial(ids: Int32Array, special: ReadonlySet<number>, from: number, to: number): number {
  for (let i = from; i < to; i++) if (special.has(ids[i])) return i
  return -1
}
