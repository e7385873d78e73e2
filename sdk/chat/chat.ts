import { randomUUID } from 'node:crypto'
import { FettleError, PlanError, serializeError, WorkerError } from '../errors'
import { PieceQueue } from '../run/generate'
import type { ChatReply } from '../run/protocol'
import type { ChatMessage } from '../tokenizers'
import type { TextAndHtml } from '../views/tables'
import { notesOf, tokensPerSecond, type ChatAnswer } from './answer'
import { shownTurns, stateCharacters, type ChatSide, type ChatState, type ChatTurnState } from './state'
import type { Party, Side } from './target'
import { Turn } from './turn'
import { chatView } from './view'

/** A piece of an answer as it is made. */
export interface ChatPiece {
  /** Who said it. */
  readonly side: ChatSide
  /** What follows the pieces of this side before it. */
  readonly text: string
}

/** Options of `chat.ask()` and `chat.stream()`. */
export interface AskOptions {
  /** Called with each piece of text as it is made. */
  readonly onToken?: (text: string, side: ChatSide) => void
}

/** The tuned answer is what one came for, so it comes first; its neighbour may have to read its model meanwhile. */
const order: readonly ChatSide[] = ['tuned', 'base']

/**
 * A conversation with a model, or with a tuned model and the untouched one side by side: each side goes on from its own
 * answers. Made by `chat()`. One question at a time: a second `ask` before the first is answered is refused
 * (`chat.busy`).
 */
export class Chat {
  /** Names this chat among others of this process. */
  readonly id: string = randomUUID().slice(0, 8)
  readonly #party: Party
  #sides: readonly Side[]
  #turns: Turn[] = []
  #older = 0
  readonly #histories = new Map<ChatSide, ChatMessage[]>()
  readonly #silent = new Set<ChatSide>()
  readonly #listeners = new Set<(state: ChatState) => void>()
  #status: ChatState['status'] = 'loading'
  #error: FettleError | null = null
  #running: { readonly abort: AbortController; readonly ended: Promise<unknown> } | null = null

  /** @internal Use `chat(target)`. */
  constructor(party: Party) {
    this.#party = party
    this.#sides = party.sides
    for (const side of party.sides) side.voice.onLost((error) => this.#lost(side, error))
  }

  /** Who answers, in the order that they are shown. */
  get sides(): readonly ChatSide[] { return this.#sides.map(({ side }) => side) }
  /** Why the chat is closed, or why the last question or a side of it failed; `null`: all is well. */
  get error(): FettleError | null { return this.#error }

  /** The chat as a page shows it: plain JSON, long texts and old turns cut. */
  get state(): ChatState {
    const shown = this.#shown()
    return {
      version: 1, chat: this.id, title: this.#party.title, sides: this.#sides.map(({ side, label }) => ({ side, label })),
      turns: shown, more: this.#older + this.#turns.length - shown.length,
      status: this.#status, error: this.#error?.message ?? null,
    }
  }

  /** Calls `listener` with the state at each change, each piece of text included. Returns how to stop that. */
  onChange(listener: (state: ChatState) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /**
   * Asks all sides, the tuned one first, and gives their answers. Older turns that find no room in a model's context are
   * left out, which the answer's notes tell.
   * @throws PlanError `chat.busy` while another question is being answered, `plan.value`; WorkerError when the worker is
   * gone, which also closes the chat
   */
  async ask(text: string, options: AskOptions = {}): Promise<ChatAnswer> {
    this.#check(text)
    const abort = new AbortController()
    const answering = this.#answer(text, options, abort.signal)
    this.#running = { abort, ended: answering.catch(() => { /* Its asker is told. */ }) }
    try {
      return await answering
    } finally {
      this.#running = null
      if (this.#status === 'answering') this.#status = 'ready'
      this.#changed()
    }
  }

  /** The same, piece by piece: `for await (const { side, text } of chat.stream('Hello!'))`. Leaving the loop cancels. */
  async *stream(text: string, options: AskOptions = {}): AsyncGenerator<ChatPiece, void, undefined> {
    const pieces = new PieceQueue<ChatPiece>()
    const onToken = (piece: string, side: ChatSide): void => { pieces.push({ side, text: piece }); options.onToken?.(piece, side) }
    let ended = false
    this.ask(text, { onToken }).then(() => pieces.end(), (error: Error) => pieces.fail(error)).finally(() => { ended = true })
    try {
      yield* pieces
    } finally {
      if (!ended) await this.cancel()
    }
  }

  /** Ends the answer that is being made, which resolves with what it has. Without one nothing happens. */
  async cancel(): Promise<void> {
    this.#running?.abort.abort()
    await this.#running?.ended
  }

  /** Forgets the conversation, on all sides. An answer that is being made is cancelled first. */
  async clear(): Promise<void> {
    await this.cancel()
    this.#turns = []
    this.#older = 0
    this.#histories.clear()
    if (this.#status !== 'closed') this.#error = null
    this.#changed()
  }

  /** Ends the chat and the workers that it started; a run goes on. */
  async close(): Promise<void> {
    const cancelled = this.cancel()
    this.#status = 'closed'
    // Beside each other: a worker that hangs would not answer the cancel, but closing ends it.
    await Promise.all(this.#party.sides.map(({ voice }) => voice.close()))
    await cancelled
    this.#changed()
  }

  /** What a notebook without Fettle's lab extension shows: the transcript. */
  [Symbol.for('Jupyter.display')](): TextAndHtml { return chatView(this.state) }

  /** @internal Waits until the model is read; a side that is only there to compare with starts at the first question. */
  async open(): Promise<void> {
    try {
      await Promise.all(this.#sides.filter(({ optional }) => !optional).map(({ voice }) => voice.open()))
      if (this.#status === 'loading') this.#status = 'ready'
    } catch (error) {
      this.#fail(error)
      await this.close()
      throw error
    } finally {
      this.#changed()
    }
  }

  /** The newest turns that a page has room for. */
  #shown(): ChatTurnState[] {
    const names = this.sides, shown: ChatTurnState[] = []
    let room = stateCharacters
    for (let i = this.#turns.length - 1; i >= 0 && shown.length < shownTurns; i--) {
      const state = this.#turns[i].state(names)
      room -= state.answers.reduce((sum, { text }) => sum + text.length, state.text.length)
      if (room < 0 && shown.length > 0) break
      shown.unshift(state)
    }
    return shown
  }

  #check(text: string): void {
    if (this.#status === 'closed') throw this.#error ?? new WorkerError('chat.closed', 'the chat is closed; start another with chat(target)', {})
    if (typeof text !== 'string' || text.trim() === '') throw new PlanError('plan.value', "expected a text to ask, got none; try chat.ask('Hello!')", {})
    if (this.#running !== null) throw new PlanError('chat.busy', 'the chat still answers an earlier question; await it, or chat.cancel() first', {})
  }

  async #answer(text: string, { onToken }: AskOptions, signal: AbortSignal): Promise<ChatAnswer> {
    const turn = this.#begin(text)
    const replies = new Map<ChatSide, ChatReply>()
    try {
      for (const name of order) {
        const side = this.#sides.find((each) => each.side === name)
        if (side === undefined || this.#silent.has(name) || signal.aborted) continue
        const reply = await this.#ask(side, turn, signal, onToken)
        if (reply !== null) replies.set(name, reply)
      }
    } finally {
      turn.end()
    }
    const cancelled = signal.aborted
    if (cancelled) turn.notes.push('ended early')
    const textOf = (side: ChatSide): string | null => replies.get(side)?.text ?? null
    return {
      question: text, base: textOf('base'), tuned: textOf('tuned'), cancelled, notes: [...turn.notes],
      tokensPerSecond: Object.fromEntries([...replies].map(([side, reply]) => [side, tokensPerSecond(reply)])),
    }
  }

  #begin(text: string): Turn {
    const turn = new Turn(text, this.sides)
    this.#turns.push(turn)
    // A page shows the newest alone, and the histories keep what is said.
    if (this.#turns.length > 2 * shownTurns) this.#older += this.#turns.splice(0, shownTurns).length
    this.#status = 'answering'
    this.#error = null
    this.#changed()
    // A model that is only there to compare with is read while the tuned one answers; its failure is met when it is asked.
    for (const { voice, optional, side } of this.#sides) if (optional && !this.#silent.has(side)) voice.open().catch(() => undefined)
    return turn
  }

  /** `null`: a side that is only there to compare with cannot answer. */
  async #ask(side: Side, turn: Turn, signal: AbortSignal, onToken: AskOptions['onToken']): Promise<ChatReply | null> {
    const shown = turn.answers.get(side.side)!
    const { generation, system } = this.#party
    const history = this.#histories.get(side.side) ?? [], question: ChatMessage = { role: 'user', content: turn.text }
    const messages = [...(system === null ? [] : [{ role: 'system', content: system }]), ...history, question]
    try {
      const reply = await this.#within(side, signal, () => side.voice.ask({ messages, generation, side: side.side }, (text) => {
        shown.text += text
        onToken?.(text, side.side)
        this.#changed()
      }, signal))
      this.#histories.set(side.side, [...history.slice(2 * reply.dropped), ...(reply.end === 'cancel' && reply.text === '' ? [] : [question, { role: 'assistant', content: reply.text }])])
      Object.assign(shown, { text: reply.text, tokensPerSecond: tokensPerSecond(reply) })
      turn.notes.push(...notesOf(side.label, reply, generation.maxNewTokens))
      // Nobody cancelled it here.
      if (reply.end === 'cancel' && !signal.aborted) turn.notes.push(`${side.label}: the run was stopped, which ended the answer`)
      return reply
    } catch (error) {
      if (!side.optional) throw this.#fail(error, side)
      this.#silence(side, error, turn)
      return null
    } finally {
      shown.done = true
      this.#changed()
    }
  }

  /** A model that is still read when the question is cancelled is not waited for. */
  async #within(side: Side, signal: AbortSignal, ask: () => Promise<ChatReply>): Promise<ChatReply> {
    if (!side.optional) return ask()
    const nothing: ChatReply = { text: '', tokens: 0, ms: 0, end: 'cancel', dropped: 0, cut: false }
    const aborted = new Promise<null>((resolve) => { signal.addEventListener('abort', () => resolve(null), { once: true }) })
    return await Promise.race([side.voice.open().then(() => true), aborted]) === null ? nothing : ask()
  }

  #fail(error: unknown, side?: Side): FettleError {
    const typed = error instanceof FettleError ? error : new FettleError('internal', serializeError(error).message, {}, { cause: error })
    this.#error ??= typed
    if (side !== undefined && !side.voice.alive) this.#status = 'closed'
    return typed
  }

  /** The chat goes on with the other side alone. */
  #silence(side: Side, error: unknown, turn?: Turn): void {
    if (this.#silent.has(side.side) || this.#status === 'closed') return
    const { message } = this.#fail(error)
    turn?.notes.push(`${side.label} cannot answer: ${message}`)
    if (side.voice.alive && turn !== undefined) return // this question failed; the next may not
    this.#silent.add(side.side)
    // One that never answered needs no place on the page.
    if (!this.#histories.has(side.side)) this.#sides = this.#sides.filter((each) => each !== side)
  }

  #lost(side: Side, error: FettleError): void {
    if (this.#status === 'closed') return
    if (side.optional) this.#silence(side, error)
    else this.#fail(error, side)
    this.#changed()
  }

  #changed(): void {
    if (this.#listeners.size === 0) return
    const { state } = this
    for (const listener of this.#listeners) listener(state)
  }
}
