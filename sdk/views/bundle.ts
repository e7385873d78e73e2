import type { ChatState } from '../chat/state'
import { chatView } from '../chat/view'
import { boardCss } from './board-css'
import { html, Html, scriptJson } from './html'
import { libraryScript } from './library'
import { boardMime, chatMime, type BoardData } from './state'
import { boardText, stillHtml } from './still'

/** The forms of a board, from the richest to plain text. */
export interface BoardBundle {
  /** For the lab extension. */
  readonly 'application/vnd.fettle.board+json': BoardData
  /** For other pages. */
  readonly 'text/html': string
  /** For all others. */
  readonly 'text/plain': string
}

/** Options of `boardBundle`. */
export interface BundleOptions {
  /** Brings the panel's script and the chart library (0.6 MB), which a page needs once: with the first output and with the last. */
  readonly library: boolean
  /** The run is over: the markup holds a picture and all else that a page shows without a script. */
  readonly final: boolean
}

/**
 * A board as an output of a notebook. Where Fettle's lab extension is, it draws the data; elsewhere the markup mounts the
 * same panel, without buttons. Each update replaces the output: the script moves the panel that stands on the page into the new
 * one, so that nothing flickers. Where scripts are not run there are words, a table and, at the end, a picture.
 */
export function boardBundle(data: BoardData, { library, final }: BundleOptions): BoardBundle {
  return { [boardMime]: data, 'text/html': boardHtml(data, { library, final }), 'text/plain': boardText(data) }
}

function boardHtml(data: BoardData, { library, final }: BundleOptions): string {
  // While it trains the style sheet comes with the library alone: the panel brings its own.
  const style = (library || final) && new Html(`<style>${boardCss}</style>`)
  // Words first: some exporters write what they do not allow (styles, scripts) as text.
  return html`<div class="fettle-board" data-fettle-board="${data.state.run}">${stillHtml(data, { picture: final })}</div>${style}${library && libraryScript()}<script type="text/javascript">(window.fettleBoards = window.fettleBoards || []).push({ script: document.currentScript, data: ${scriptJson(data)} })</script>`.toString()
}

/** A chat as an output of a notebook: the box where the lab extension is, the transcript elsewhere. */
export function chatBundle(state: ChatState): { readonly 'application/vnd.fettle.chat+json': ChatState; readonly 'text/html': string; readonly 'text/plain': string } {
  return { [chatMime]: state, ...chatView(state) }
}
