import { start } from '../views/format'
import { shownCharacters, type ChatSide, type ChatTurnState } from './state'

/** One question and its answers while they grow. */
export class Turn {
  readonly notes: string[] = []
  readonly answers: Map<ChatSide, { text: string; done: boolean; tokensPerSecond: number | null }>
  private made: ChatTurnState | null = null

  constructor(readonly text: string, sides: readonly ChatSide[]) {
    this.answers = new Map(sides.map((side) => [side, { text: '', done: false, tokensPerSecond: null }]))
  }

  /** Whatever came is all that comes. */
  end(): void {
    for (const answer of this.answers.values()) answer.done = true
    this.made = null
  }

  /** Plain data, made anew only while the turn changes. */
  state(sides: readonly ChatSide[]): ChatTurnState {
    if (this.made !== null && this.made.answers.length === sides.length) return this.made
    const state: ChatTurnState = {
      text: start(this.text, shownCharacters), notes: [...this.notes],
      answers: sides.map((side) => {
        const { text, done, tokensPerSecond } = this.answers.get(side) ?? { text: '', done: true, tokensPerSecond: null }
        return { side, text: start(text, shownCharacters), done, tokensPerSecond: tokensPerSecond === null ? null : Number(tokensPerSecond.toPrecision(3)) }
      }),
    }
    if (state.answers.every(({ done }) => done)) this.made = state
    return state
  }
}
