import type { PanelApi } from './api'

declare global {
  // What a page's scripts find the panel by.
  var fettlePanel: PanelApi | undefined
}
