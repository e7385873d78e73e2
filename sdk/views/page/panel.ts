import type { PanelApi } from './api'
import { mountBoard } from './board'
import { mountChat } from './chat'
import { serveOutputs } from './fallback'

declare global {
  // What a page's scripts find the panel by.
  var fettlePanel: PanelApi | undefined
}

if (!globalThis.fettlePanel) {
  globalThis.fettlePanel = { mountBoard, mountChat }
  serveOutputs()
}

export { mountBoard, mountChat }
