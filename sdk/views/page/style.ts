import { boardCss } from '../board-css'
import { h } from './dom'

/** The panel's style sheet. It goes where the panel goes: outputs of a notebook come and go each for itself. */
export function styleElement(): HTMLElement {
  return h('style', { text: boardCss })
}
