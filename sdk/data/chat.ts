import type { ChatMessage, ChatTemplate, Mark, Tokenizer } from '../tokenizers'
import { renderSpans, type AnswerSpan } from './chat-spans'
import { IGNORED } from './dataset'
import type { EncodedRow, Rounds, RowEncoder, TemplateSettings } from './encode'

/** Token range of an answer: [start, end) is trained, end of turn included. */
interface Trained { readonly start: number; readonly end: number }

interface EncodedChat {
  readonly ids: Int32Array
  readonly trained: readonly Trained[]
  /** Token range of the last user message's own text. */
  readonly lastUser: { readonly start: number; readonly end: number }
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
    const [chat] = await this.encodeChats([{ src: src.slice(-1), tgt: [''] }])
    return [...this.cutPrompt(chat)]
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
      const user = lastUserSpan(chat.text, row.src[row.src.length - 1], chat.answers)
      return { ...chat, marks: marksOf(chat.answers, user) }
    })
    const encoded = await this.tokenizer.encodeMarked(chats)
    return encoded.map(({ ids, cuts }, i) => {
      const answers = chats[i].answers.length
      const lastUser = { start: cuts[3 * answers - 3], end: cuts[3 * answers - 2] }
      return this.label(ids, chats[i].answers, cuts, lastUser)
    })
  }

  private label(ids: Int32Array, answers: readonly AnswerSpan[], cuts: readonly number[], lastUser: EncodedChat['lastUser']): EncodedChat {
    let all = ids
    const trained = answers.map((_, a) => {
      const last = a === answers.length - 1
      const [start, contentEnd, end] = last ? cuts.slice(-3) : cuts.slice(3 * a, 3 * a + 3)
      const turnEnd = firstSpecial(ids, this.tokenizer.specialIds, contentEnd, end)
      if (turnEnd >= 0) return { start, end: turnEnd + 1 }
      if (!last || this.tokenizer.eosId === null) return { start, end: contentEnd }
      this.odd.add('the chat template ends answers with no special token; the end-of-text token is put after the last answer, so that the model learns to stop')
      all = Int32Array.from([...ids.subarray(0, contentEnd), this.tokenizer.eosId])
      return { start, end: contentEnd + 1 }
    })
    return { ids: all, trained, lastUser }
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
    return best!.ids.length <= this.settings.maxLength ? finish(best!, true) : this.cutLast(best!)
  }

  private cutLast(chat: EncodedChat): EncodedRow {
    const [{ start, end }] = chat.trained
    const prompt = this.cutPrompt(chat)
    const answer = chat.ids.subarray(start, start + Math.max(0, this.settings.maxLength - prompt.length))
    const ids = new Int32Array(prompt.length + answer.length)
    ids.set(prompt)
    ids.set(answer, prompt.length)
    return finish({ ...chat, ids, trained: [{ start: prompt.length, end: Math.min(ids.length, prompt.length + end - start) }] }, true)
  }

  /** The prompt of a chat of one round, at most srcLength tokens. */
  private cutPrompt({ ids, trained: [{ start }], lastUser }: EncodedChat): Int32Array {
    const over = start - this.settings.srcLength
    if (over <= 0) return ids.slice(0, start)
    const gone = Math.min(over, lastUser.end - lastUser.start)
    const kept = Int32Array.from([...ids.subarray(0, lastUser.start), ...ids.subarray(lastUser.start + gone, start)])
    return kept.slice(Math.max(0, kept.length - this.settings.srcLength))
  }
}

function finish({ ids, trained }: EncodedChat, truncated: boolean): EncodedRow {
  const labels = new Int32Array(ids.length).fill(IGNORED)
  for (const { start, end } of trained) labels.set(ids.subarray(start, end), start)
  return { ids, labels, truncated }
}

/** Three marks an answer (start, end of its text, end of its turn) in the order of the text, and two for the last question. */
function marksOf(answers: readonly AnswerSpan[], user: { start: number; end: number }): Mark[] {
  const marks = answers.flatMap(({ start, contentEnd, end }): Mark[] =>
    [{ at: start, split: true }, { at: contentEnd, split: false }, { at: end, split: false }])
  marks.splice(-3, 0, { at: user.start, split: false }, { at: user.end, split: false })
  return marks
}

/** The last question's own text; an empty span before the answer when the template rewrites it. */
function lastUserSpan(text: string, content: string, answers: readonly AnswerSpan[]): { start: number; end: number } {
  const answer = answers[answers.length - 1].start
  const after = answers.length > 1 ? answers[answers.length - 2].end : 0
  const trimmed = content.trim()
  const at = text.lastIndexOf(trimmed, answer - trimmed.length)
  return trimmed === '' || at < after ? { start: answer, end: answer } : { start: at, end: at + trimmed.length }
}

function firstSpecial(ids: Int32Array, special: ReadonlySet<number>, from: number, to: number): number {
  for (let i = from; i < to; i++) if (special.has(ids[i])) return i
  return -1
}
