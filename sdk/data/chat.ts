import type { ChatMessage, ChatTemplate, Mark, Tokenizer } from '../tokenizers'
import { difference, renderSpans, type AnswerSpan } from './chat-spans'
import { IGNORED } from './dataset'
import type { EncodedRow, Rounds, RowEncoder, TemplateSettings } from './encode'

/** Token range of an answer: [start, end) is trained, end of turn included. */
interface Trained { readonly start: number; readonly end: number }

interface EncodedChat {
  readonly ids: Int32Array
  readonly trained: readonly Trained[]
}

/**
 * Chats: the whole conversation is rendered and encoded once, and the answers are found in it. Rounds are kept from the
 * last backwards while they fit in maxLength. The last is always kept; alone and too long, its prompt is cut to srcLength
 * (inside the user's own text, from the left, so that the template's marks stay) and its answer to what is left.
 */
export class ChatEncoder implements RowEncoder {
  readonly kind = 'chat'
  private readonly odd = new Set<string>()

  constructor(private readonly tokenizer: Tokenizer, private readonly template: ChatTemplate, private readonly settings: TemplateSettings) {}

  async encode(rows: readonly Rounds[]): Promise<EncodedRow[]> {
    const chats = await this.encodeChats(rows)
    return Promise.all(chats.map((chat, i) => chat.ids.length <= this.settings.maxLength ? finish(chat, false) : this.shorten(rows[i], chat)))
  }

  async prompt({ src, tgt }: Rounds): Promise<number[]> {
    const promptOf = (from: number): Promise<number[]> =>
      this.tokenizer.encode(this.template.render(this.messages({ src: src.slice(from), tgt: tgt.slice(from, src.length - 1) }), { addGenerationPrompt: true }))
    // Earlier rounds go first, as in training; a last one that is too long is cut like a trained one.
    for (let from = 0; from < src.length; from++) {
      const ids = await promptOf(from)
      if (ids.length < this.settings.maxLength) return ids
    }
    return [...await this.cutPrompt(src[src.length - 1])]
  }

  notes(): readonly string[] { return [...this.odd] }

  private messages({ src, tgt }: Rounds): ChatMessage[] {
    const messages: ChatMessage[] = this.settings.system === null ? [] : [{ role: 'system', content: this.settings.system }]
    src.forEach((content, i) => {
      messages.push({ role: 'user', content })
      if (i < tgt.length) messages.push({ role: 'assistant', content: tgt[i] })
    })
    return messages
  }

  private async encodeChats(rows: readonly Rounds[]): Promise<EncodedChat[]> {
    const chats = rows.map(row => {
      const chat = renderSpans(this.template, this.messages(row))
      return { ...chat, marks: chat.answers.flatMap(marksOf) }
    })
    const encoded = await this.tokenizer.encodeMarked(chats)
    return encoded.map(({ ids, cuts }) => this.findTurns(ids, cuts))
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
    const prompt = await this.cutPrompt(src[src.length - 1])
    const answer = chat.ids.subarray(start, start + Math.max(0, this.settings.maxLength - prompt.length))
    const ids = new Int32Array(prompt.length + answer.length)
    ids.set(prompt)
    ids.set(answer, prompt.length)
    return finish({ ids, trained: [{ start: prompt.length, end: Math.min(ids.length, prompt.length + end - start) }] }, true)
  }

  /** The prompt of one question in at most srcLength tokens: the question loses its left end, then the whole prompt does. */
  private async cutPrompt(question: string): Promise<Int32Array> {
    const promptOf = (src: string): string => {
      const { text, answers } = renderSpans(this.template, this.messages({ src: [src], tgt: ['x'] }))
      return text.slice(0, answers[0].start)
    }
    const text = promptOf(question)
    const own = difference(text, promptOf('x'))
    const [{ ids, cuts }] = await this.tokenizer.encodeMarked([{ text, marks: [{ at: own.start, split: false }, { at: own.end, split: false }] }])
    const over = ids.length - this.settings.srcLength
    if (over <= 0) return ids
    const gone = Math.min(over, cuts[1] - cuts[0])
    const kept = Int32Array.from([...ids.subarray(0, cuts[0]), ...ids.subarray(cuts[0] + gone)])
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
