import { FettleError } from '../errors'
import type { ChatMessage, ChatTemplate } from '../tokenizers'
import { renderSpans, type AnswerSpan, type RenderedChat } from './chat-spans'

/** Characters for private use, which no template writes. */
const opening = '\ue000', closing = '\ue001'

/** Longer chats are rendered each by itself: they are rare, and a shape of each length is not worth its memory. */
const mostMessages = 64

/** A place in a chat of one shape: constant text before it, and how many of the shape's message texts. */
interface Place { readonly constant: number; readonly texts: number }

/** A rendered chat without its messages' texts: `constants[0]`, the text of message `order[0]`, `constants[1]`, … */
interface Shape {
  readonly constants: readonly string[]
  readonly order: readonly number[]
  readonly answers: readonly { readonly start: Place; readonly contentEnd: Place; readonly end: Place }[]
}

/**
 * Renders chats and finds their answers. Where the template only writes texts out, chats of the same roles differ in nothing
 * else, so that the engine renders each such shape once; else it renders every chat.
 */
export class ChatRenderer {
  private readonly shapes = new Map<string, Shape | null>()

  constructor(private readonly template: ChatTemplate) {}

  /** @throws DataError `data.template`, ModelError `tokenizer.chat-template` */
  render(messages: readonly ChatMessage[]): Pick<RenderedChat, 'text' | 'answers'> {
    const shape = this.fits(messages) ? this.shapeOf(messages) : null
    return shape === null ? renderSpans(this.template, messages) : fill(shape, messages)
  }

  private fits(messages: readonly ChatMessage[]): boolean {
    const { texts } = this.template
    if (texts === 'unknown' || messages.length > mostMessages) return false
    return texts === 'whole' || messages.every(({ content }) => content !== '' && content.trim().length === content.length)
  }

  private shapeOf(messages: readonly ChatMessage[]): Shape | null {
    const roles = messages.map(({ role }) => role).join()
    let shape = this.shapes.get(roles)
    if (shape === undefined) this.shapes.set(roles, shape = this.newShape(messages))
    return shape
  }

  private newShape(messages: readonly ChatMessage[]): Shape | null {
    try {
      const { text, answers, regular } = renderSpans(this.template, messages.map(({ role }, i) => ({ role, content: `${opening}${i}${closing}` })))
      return regular ? shapeOf(text, answers) : null
    } catch (error) {
      // A template that refuses these roles refuses the chat itself too, and is then quoted with it.
      if (error instanceof FettleError) return null
      throw error
    }
  }
}

function shapeOf(text: string, spans: readonly AnswerSpan[]): Shape {
  const parts = text.split(new RegExp(`${opening}(\\d+)${closing}`)), ends: { readonly end: number; readonly constant: number }[] = []
  let at = 0, constant = 0
  for (let i = 0; i + 1 < parts.length; i += 2) {
    constant += parts[i].length
    at += parts[i].length + parts[i + 1].length + opening.length + closing.length
    ends.push({ end: at, constant })
  }
  const place = (where: number): Place => {
    const before = ends.filter(({ end }) => end <= where), { end, constant: known } = before.at(-1) ?? { end: 0, constant: 0 }
    return { constant: known + where - end, texts: before.length }
  }
  return {
    constants: parts.filter((_, i) => i % 2 === 0), order: parts.filter((_, i) => i % 2 === 1).map(Number),
    answers: spans.map(({ start, contentEnd, end }) => ({ start: place(start), contentEnd: place(contentEnd), end: place(end) }))
  }
}

function fill({ constants, order, answers }: Shape, messages: readonly ChatMessage[]): Pick<RenderedChat, 'text' | 'answers'> {
  const lengths = [0]
  let text = constants[0]
  order.forEach((message, i) => {
    const { content } = messages[message]
    lengths.push(lengths[i] + content.length)
    text += content + constants[i + 1]
  })
  const at = ({ constant, texts }: Place): number => constant + lengths[texts]
  return { text, answers: answers.map(({ start, contentEnd, end }) => ({ start: at(start), contentEnd: at(contentEnd), end: at(end) })) }
}
