import type { ChatReply } from '../run/protocol'
import type { ChatSide } from './state'

/** What a question brought. */
export interface ChatAnswer {
  /** What was asked. */
  readonly question: string
  /** The untouched model's answer; `null` where that side was not asked. */
  readonly base: string | null
  /** The tuned model's answer; `null` where that side was not asked. */
  readonly tuned: string | null
  /** `cancel()` ended it: texts are what there was by then. */
  readonly cancelled: boolean
  /** What happened beside the answers: older turns that found no room, a side that could not answer. */
  readonly notes: readonly string[]
  /** Of each side that answered, from its prompt to its last token. */
  readonly tokensPerSecond: Readonly<Partial<Record<ChatSide, number>>>
}

/** How a reader is told of what a side left out. */
export function notesOf(label: string, { dropped, cut, end, tokens }: ChatReply, maxNewTokens: number): string[] {
  const notes: string[] = []
  if (dropped > 0) notes.push(`${label}: the ${dropped === 1 ? 'oldest turn' : `${dropped} oldest turns`} found no room in the model's context and ${dropped === 1 ? 'was' : 'were'} left out`)
  if (cut) notes.push(`${label}: the question found no room in the model's context and lost its beginning`)
  if (end === 'length') notes.push(`${label}: the answer was cut ${tokens >= maxNewTokens ? `at maxNewTokens (${maxNewTokens})` : "at the end of the model's context"}`)
  return notes
}

export function tokensPerSecond({ tokens, ms }: ChatReply): number { return ms > 0 ? tokens / ms * 1000 : 0 }
