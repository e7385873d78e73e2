import type { IRenderMime } from '@jupyterlab/rendermime-interfaces'
import type { ChatState } from '../../sdk/chat/state'
import { boardMime, chatMime, type BoardData } from '../../sdk/views/state'
import type { BoardPanel, ChatPanel } from '../../sdk/views/page/api'
import { mountBoard } from '../../sdk/views/page/board'
import { mountChat } from '../../sdk/views/page/chat'
import type { Hub, View } from './hub'
import type { WidgetClass } from './jupyter'
import type { Link } from './link'
import { loadPlotly } from './plotly'

type Model = IRenderMime.IMimeModel

/** Renderer of a board. It draws what its output holds; while a kernel tells of the run, what the kernel tells. */
export function boardWidget(Widget: WidgetClass, hub: Hub): WidgetClass {
  return class extends Widget implements View {
    private panel: BoardPanel | null = null
    private data: BoardData | null = null
    private link: Link | null = null
    private leave = () => {}

    /** Called for the first bundle and for each that replaces it. */
    renderModel(model: Model): Promise<void> {
      this.data = model.data[boardMime] as unknown as BoardData
      const { run } = this.data.state
      const { views } = hub.board(run)
      this.leave()
      this.leave = () => { views.delete(this) }
      views.add(this)
      this.panel ??= this.mount(run)
      this.changed()
      return Promise.resolve()
    }

    private mount(run: string): BoardPanel {
      this.addClass('fettle-lab-board')
      this.node.dataset.fettleRun = run
      return mountBoard(this.node, loadPlotly)
    }

    changed(): void {
      if (!this.data || !this.panel) return
      const { run } = this.data.state
      const { topic } = hub.board(run)
      const { state, samples, link } = topic
      if (link !== this.link) {
        this.link = link
        this.panel.setHost(link && { command: (command) => link.request(run, command) })
      }
      this.panel.updateSamples(link && samples || this.data.samples)
      this.panel.update(link && state || this.data.state)
    }

    override dispose(): void {
      if (this.isDisposed) return
      this.leave()
      this.panel?.dispose()
      super.dispose()
    }
  }
}

/** Renderer of a chat box. */
export function chatWidget(Widget: WidgetClass, hub: Hub): WidgetClass {
  return class extends Widget implements View {
    private panel: ChatPanel | null = null
    private data: ChatState | null = null
    private link: Link | null = null
    private leave = () => {}

    renderModel(model: Model): Promise<void> {
      this.data = model.data[chatMime] as unknown as ChatState
      const { views } = hub.chat(this.data.chat)
      this.leave()
      this.leave = () => { views.delete(this) }
      views.add(this)
      this.panel ??= this.mount(this.data.chat)
      this.changed()
      return Promise.resolve()
    }

    private mount(chat: string): ChatPanel {
      this.addClass('fettle-lab-chat')
      this.node.dataset.fettleChat = chat
      return mountChat(this.node)
    }

    changed(): void {
      if (!this.data || !this.panel) return
      const { chat } = this.data
      const { state, link } = hub.chat(chat).topic
      if (link !== this.link) {
        this.link = link
        this.panel.setHost(link && {
          ask: (text) => { link.send({ type: 'ask', chat, text }) },
          cancel: () => { link.send({ type: 'cancel', chat }) },
          clear: () => { link.send({ type: 'clear', chat }) },
        })
      }
      this.panel.update(link && state || this.data)
    }

    override dispose(): void {
      if (this.isDisposed) return
      this.leave()
      this.panel?.dispose()
      super.dispose()
    }
  }
}
