import { chatStopIds, type Rounds, type RowEncoder } from '../data/encode'
import { PlanError } from '../errors'
import type { ChatReply, Command } from '../run/protocol'
import type { ChatMessage } from '../tokenizers'
import { AnswerText } from '../tokenizers/answer-text'
import { generateTokens } from '../train/generate'
import type { Speaker } from './answers'

/** A model that holds a conversation. */
export interface Talker extends Speaker {
  /** As `DataPlan.template`: under `none` a text is continued as it stands. */
  readonly template: string
}

/** What a `chat` command asks. */
export type Question = Omit<Extract<Command, { name: 'chat' }>, 'name'>

/** Who hears the answer, and until when. */
export interface Hearing {
  readonly onText: (text: string) => void
  /** Asked after each token: the answer shall end with what it has. */
  readonly isOver: () => boolean
}

/**
 * The next answer of a conversation, by the weights as they are or, for side `base`, with the adapter left out. What finds
 * no room in the model's context goes, oldest first.
 * @throws PlanError `chat.messages`, `chat.no-base`
 */
export async function converse(talker: Talker, { messages, generation, side }: Question, { onText, isOver }: Hearing): Promise<ChatReply> {
  const started = performance.now()
  const { decoder, tokenizer } = talker, { eosIds, maxPositions } = decoder.parameters.architecture
  const { maxNewTokens, minNewTokens, temperature, topK, topP, seed } = generation
  // Half of the context is the question's at least, however long the answer may get.
  const room = Math.max(Math.ceil(maxPositions / 2), maxPositions - maxNewTokens)
  const prompt = talker.template === 'none' ? await continued(talker, messages, room) : await inTemplate(talker.encoder, messages, room)
  const most = Math.max(1, Math.min(maxNewTokens, maxPositions - prompt.ids.length))
  const stopIds = talker.template === 'none' ? eosIds : await chatStopIds(eosIds, tokenizer, talker.encoder)
  const text = new AnswerText(tokenizer, generation.stop, onText)
  let tokens = 0, end: ChatReply['end'] = isOver() ? 'cancel' : 'length'
  if (end !== 'cancel') {
    const options = { maxNewTokens: most, minNewTokens: Math.min(minNewTokens, most), temperature, topK, topP, seed, stopIds, adapter: side === 'tuned' }
    for await (const token of generateTokens(decoder, [prompt.ids], options)) {
      tokens++
      text.push(token.id)
      if (token.end === 'stop' || text.ended) end = 'stop'
      else if (token.end === null && isOver()) end = 'cancel'
      if (end !== 'length') break
    }
  }
  return { text: text.end(), tokens, ms: performance.now() - started, end, dropped: prompt.dropped, cut: prompt.cut }
}

interface Prompt { readonly ids: readonly number[]; readonly dropped: number; readonly cut: boolean }

/** Exactly as training puts a conversation; a system message of its own takes the place of the plan's. */
async function inTemplate(encoder: RowEncoder, messages: readonly ChatMessage[], room: number): Promise<Prompt> {
  const { system, rounds } = roundsOf(messages)
  // A prompt must be shorter than maxLength, so that an answer has a token.
  return encoder.under({ maxLength: room + 1, srcLength: room, ...(system === null ? {} : { system }) }).fitPrompt(rounds)
}

async function continued({ tokenizer }: Talker, messages: readonly ChatMessage[], room: number): Promise<Prompt> {
  const { rounds: { src } } = roundsOf(messages)
  const ids = await tokenizer.encode(src[src.length - 1], { special: true })
  const over = Math.max(0, ids.length - room), { before } = tokenizer.added
  return { ids: over === 0 ? ids : [...before, ...ids.slice(before.length + over)], dropped: 0, cut: over > 0 }
}

/** System message, then questions and answers in turn, the last a question. */
function roundsOf(messages: readonly ChatMessage[]): { readonly system: string | null; readonly rounds: Rounds } {
  const system = messages[0]?.role === 'system' ? messages[0].content : null
  const talk = system === null ? messages : messages.slice(1)
  const inTurn = talk.every(({ role }, i) => role === (i % 2 === 0 ? 'user' : 'assistant'))
  if (!inTurn || talk.length % 2 === 0) {
    const roles = messages.map(({ role }) => role)
    throw new PlanError('chat.messages', `expected a system message or none, then user and assistant in turn, a user last, got ${roles.join(', ') || 'no messages'}; leave out or join messages`, { roles })
  }
  const texts = (role: string): string[] => talk.filter((message) => message.role === role).map(({ content }) => content)
  return { system, rounds: { src: texts('user'), tgt: texts('assistant') } }
}
