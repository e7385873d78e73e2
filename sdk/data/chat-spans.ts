import { DataError } from '../errors'
import type { ChatMessage, ChatTemplate } from '../tokenizers'

/** Where an answer stands in a rendered chat (UTF-16 indices). */
export interface AnswerSpan {
  /** Where generation would start: the end of the rendered prompt. */
  readonly start: number
  /** Where the answer's own text ends. */
  readonly contentEnd: number
  /** Where everything ends that the template writes for this message. */
  readonly end: number
}

export interface RenderedChat {
  readonly text: string
  readonly answers: readonly AnswerSpan[]
  /** Each answer stands right behind its prompt, and what comes before the next message does not depend on that one. */
  readonly regular: boolean
}

/**
 * Renders a chat and finds its answers, for any template: an answer starts where the rendering of the messages before it,
 * with the generation prompt, ends. That rendering must be the beginning of the whole, which is checked.
 * @throws DataError `data.template` when the answers cannot be found
 */
export function renderSpans(template: ChatTemplate, messages: readonly ChatMessage[]): RenderedChat {
  const text = template.render(messages)
  const answers: AnswerSpan[] = []
  let regular = true
  messages.forEach((message, i) => {
    if (message.role !== 'assistant') return
    const { start, behindPrompt } = answerStart(template, messages, i, text)
    const contentEnd = endOfContent(text, message.content, start)
    const last = i === messages.length - 1
    const upTo = last ? text : template.render(messages.slice(0, i + 1)), end = commonPrefix(upTo, text)
    regular &&= behindPrompt && text.startsWith(message.content, start) && end === upTo.length
    answers.push({ start, contentEnd, end: Math.max(end, contentEnd) })
  })
  return { text, answers, regular }
}

function answerStart(template: ChatTemplate, messages: readonly ChatMessage[], i: number, text: string): { start: number; behindPrompt: boolean } {
  const before = messages.slice(0, i)
  const prompt = template.render(before, { addGenerationPrompt: true })
  if (text.startsWith(prompt)) return { start: prompt.length, behindPrompt: true }
  // Some templates open an answer in another way when they ask for one; then the answer's own text shows the place.
  const history = template.render(before)
  const { content } = messages[i]
  const at = text.startsWith(history) && content.trim() !== '' ? text.indexOf(content.trim(), history.length) : -1
  if (at >= 0) return { start: at, behindPrompt: false }
  throw new DataError('data.template',
    `chat template ${template.name || 'of the model'}: writes message ${i + 1} of ${messages.length} differently in a chat than before it, so the answer cannot be found; use rows of one round, or another template`,
    { message: i, prompt: prompt.slice(-200), text: text.slice(Math.max(0, commonPrefix(prompt, text) - 100), commonPrefix(prompt, text) + 100) })
}

/** Templates may trim a message. One that rewrites it leaves no text to find; then all that follows may be its end. */
function endOfContent(text: string, content: string, start: number): number {
  if (text.startsWith(content, start)) return start + content.length
  const trimmed = content.trim()
  const at = text.indexOf(trimmed, start)
  return at < 0 ? start : at + trimmed.length
}

function commonPrefix(a: string, b: string): number {
  if (b.startsWith(a)) return a.length
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  return i
}

/** The part of `a` that `b` does not share: between their common beginning and their common end. */
export function difference(a: string, b: string): { start: number; end: number } {
  const start = commonPrefix(b, a)
  let tail = 0
  const most = Math.min(a.length, b.length) - start
  while (tail < most && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++
  return { start, end: a.length - tail }
}
