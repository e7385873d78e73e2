import type { PanelApi } from './api'
import { mountBoard } from './board'
import { mountChat } from './chat'

declare global {
  // What a page's scripts find the panel by.
  var fettlePanel: PanelApi | undefined
}

globalThis.fettlePanel ??= { mountBoard, mountChat }

export { mountBoard, mountChat }
