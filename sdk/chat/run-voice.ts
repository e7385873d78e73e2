import { FettleError } from '../errors'
import type { ChatReply } from '../run/protocol'
import type { Question, Voice } from './voice'

/** A run whose worker this process can ask. */
export interface LiveRunVoice {
  readonly alive: boolean
  readonly done: Promise<unknown>
  converse(question: Question, onText: (text: string) => void, signal: AbortSignal): Promise<ChatReply>
}

/** The live weights of a run: between two steps while it trains, and after it. */
export class RunVoice implements Voice {
  constructor(private readonly run: LiveRunVoice) {}

  get alive(): boolean { return this.run.alive }

  async open(): Promise<void> { /* The run's own worker is there; a question waits until its model is read. */ }

  async ask(question: Question, onText: (text: string) => void, signal: AbortSignal): Promise<ChatReply> {
    try {
      return await this.run.converse(question, onText, signal)
    } catch (error) {
      if (this.run.alive) throw error
      // What ended the run says more than that its worker is gone.
      throw await this.run.done.then(() => error, (told: unknown) => told)
    }
  }

  onLost(listener: (error: FettleError) => void): void {
    this.run.done.catch((error: unknown) => { if (error instanceof FettleError) listener(error) })
  }

  async close(): Promise<void> { /* The run belongs to its user. */ }
}
