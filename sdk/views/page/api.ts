import type { ChatState } from '../../chat/state'
import type { BoardCommand, BoardSamples, BoardState } from '../state'

/** What a page offers a board. A page without it (a saved notebook, an HTML export) shows the board without buttons. */
export interface BoardHost {
  /** Asks it of the run; resolves with what to tell the user, rejects with an `Error` whose message says what to do. */
  command(command: BoardCommand): Promise<string>
}

/** What a page offers a chat box. */
export interface ChatHost {
  ask(text: string): void
  /** Ends the answer that is being written. */
  cancel(): void
  clear(): void
}

/** A board on a page. */
export interface BoardPanel {
  update(state: BoardState): void
  updateSamples(samples: BoardSamples): void
  /** Buttons appear with a host, and go with `null`. */
  setHost(host: BoardHost | null): void
  dispose(): void
}

/** A chat box on a page. */
export interface ChatPanel {
  update(state: ChatState): void
  setHost(host: ChatHost | null): void
  dispose(): void
}

/** The part of Plotly that charts use. */
export interface PlotlyLike {
  react(element: HTMLElement, data: unknown, layout: unknown, config: unknown): Promise<unknown>
  purge(element: HTMLElement): void
  readonly Plots: { resize(element: HTMLElement): unknown }
}

/** What the bundle `sdk/dist/page/panel.js` puts at `globalThis.fettlePanel`, and what the lab extension imports. */
export interface PanelApi {
  mountBoard(element: HTMLElement, plotly: () => Promise<PlotlyLike>): BoardPanel
  mountChat(element: HTMLElement): ChatPanel
}
