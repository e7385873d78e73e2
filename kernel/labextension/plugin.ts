import { boardMime, chatMime } from '../../sdk/views/state'
import { Hub } from './hub'
import type { NotebookPanel, NotebookTracker, RenderMimeRegistry, WidgetClass } from './jupyter'
import { follow } from './panels'
import { boardWidget, chatWidget } from './widgets'

/** Packages of the page that the extension uses. */
export interface PageModules {
  readonly rendermime: { readonly IRenderMimeRegistry: object }
  /** A page may have no notebooks. */
  readonly notebook: { readonly INotebookTracker: object } | null
  readonly widgets: { readonly Widget: WidgetClass }
}

/** Before HTML (50): the same output brings a picture for clients without this extension. */
const rank = 10

/** The plugin as JupyterLab's application takes it. */
export function fettlePlugin({ rendermime, notebook, widgets }: PageModules): object {
  return {
    id: 'fettle-lab:plugin', description: 'Boards and chats of Fettle runs', autoStart: true,
    requires: [rendermime.IRenderMimeRegistry], optional: notebook ? [notebook.INotebookTracker] : [],
    activate(_app: unknown, registry: RenderMimeRegistry, tracker: NotebookTracker | null | undefined): void {
      const hub = new Hub()
      const Board = boardWidget(widgets.Widget, hub)
      const Chat = chatWidget(widgets.Widget, hub)
      // Safe: they show data as text and never as markup, so that they draw in notebooks that are not trusted too.
      registry.addFactory({ safe: true, mimeTypes: [boardMime], createRenderer: () => new Board() as never }, rank)
      registry.addFactory({ safe: true, mimeTypes: [chatMime], createRenderer: () => new Chat() as never }, rank)
      const take = (panel: NotebookPanel) => follow(panel, hub)
      tracker?.forEach(take)
      tracker?.widgetAdded.connect((_, panel) => take(panel))
    },
  }
}
