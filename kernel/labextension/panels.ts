import type { Kernel } from '@jupyterlab/services'
import { boardMime, chatMime } from '../../sdk/views/state'
import type { ToPage } from '../session/lab-protocol'
import type { Hub } from './hub'
import type { NotebookPanel } from './jupyter'
import { Link } from './link'
import { addOutput, isStale, outputsOf, setOutputs } from './outputs'

/** How long an output may wait for the kernel's own update (ms) before the page asks for what to keep. */
const patience = 3_000

/** Links a notebook to its kernel, whichever that is. */
export function follow(panel: NotebookPanel, hub: Hub): void {
  let link: Link | null = null
  const connect = (kernel: Kernel.IKernelConnection | null | undefined) => {
    link?.dispose()
    link = kernel ? new Link(kernel, { message: (message, from) => take(message, from), lost: (from) => hub.lost(from) }) : null
  }
  const take = (message: ToPage, from: Link) => {
    hub.take(message, from)
    bringOutputs(panel, message, from)
  }
  const kernelChanged = (_: unknown, { newValue }: { readonly newValue: Kernel.IKernelConnection | null }) => connect(newValue)
  panel.sessionContext.kernelChanged.connect(kernelChanged)
  panel.disposed.connect(() => {
    panel.sessionContext.kernelChanged.disconnect(kernelChanged)
    connect(null)
  })
  connect(panel.sessionContext.session?.kernel)
}

/** Keeps the notebook's outputs true to what the kernel tells: a page that was loaded while a run went on knows no display
 * ids, so that the kernel's own updates do not reach it. */
function bringOutputs(panel: NotebookPanel, message: ToPage, link: Link): void {
  const later = (type: string, id: string, state: unknown) => {
    if (isStale(panel, type, id, state)) setTimeout(() => { if (isStale(panel, type, id, state)) link.send({ type: 'keep', of: id }) }, patience)
  }
  if (message.type === 'live') {
    for (const { run, cell, data } of message.boards) {
      if (outputsOf(panel, boardMime, run).length === 0) addOutput(panel, cell, { [boardMime]: data, 'text/plain': '' })
      later(boardMime, run, data.state)
    }
    for (const { chat, cell, state } of message.chats) {
      if (outputsOf(panel, chatMime, chat).length === 0) addOutput(panel, cell, { [chatMime]: state, 'text/plain': '' })
      later(chatMime, chat, state)
    }
  } else if (message.type === 'board') later(boardMime, message.run, message.state)
  else if (message.type === 'chat') later(chatMime, message.chat, message.state)
  else if (message.type === 'keep') setOutputs(panel, message.of, message.data)
}
