import type { ChatState } from '../../sdk/chat/state'
import { isOver } from '../../sdk/views/figures'
import { boardMime, chatMime, type BoardData, type BoardState } from '../../sdk/views/state'
import type { CellModel, NotebookPanel, OutputAreaModel } from './jupyter'

/** An output of a notebook: where it stands and what it holds. */
interface Found { readonly outputs: OutputAreaModel; readonly index: number; readonly data: unknown }

function cellsOf(panel: NotebookPanel): CellModel[] {
  const cells = panel.model?.cells
  return cells ? Array.from({ length: cells.length }, (_, i) => cells.get(i)) : []
}

const idOf = (type: string, data: unknown): unknown => type === boardMime ? (data as BoardData | undefined)?.state?.run : (data as ChatState | undefined)?.chat

/** Outputs that show a run or a chat. A run that was a cell's value shows how it stood then, and is none of them. */
export function outputsOf(panel: NotebookPanel, type: string, id: string): Found[] {
  return cellsOf(panel).flatMap(({ outputs }) => {
    const found: Found[] = []
    for (let index = 0; outputs && index < outputs.length; index++) {
      const output = outputs.get(index)
      const data = output.type === 'display_data' ? output.data[type] : undefined
      if (data !== undefined && idOf(type, data) === id) found.push({ outputs, index, data })
    }
    return found
  })
}

/** Puts an output under a cell, where the notebook has that cell. */
export function addOutput(panel: NotebookPanel, cell: string | null, data: Readonly<Record<string, unknown>>): void {
  const model = cell === null ? undefined : cellsOf(panel).find(({ id }) => id === cell)
  model?.outputs?.add({ output_type: 'display_data', data, metadata: {} })
}

/** Replaces what the outputs of a run or chat hold. */
export function setOutputs(panel: NotebookPanel, id: string, data: Readonly<Record<string, unknown>>): void {
  const type = boardMime in data ? boardMime : chatMime
  for (const { outputs, index } of outputsOf(panel, type, id)) outputs.set(index, { output_type: 'display_data', data, metadata: {} })
}

/** Whether an output lacks what its notebook shall keep: the end of a run, or the last finished answer of a chat. */
export function isStale(panel: NotebookPanel, type: string, id: string, state: unknown): boolean {
  const found = outputsOf(panel, type, id)
  if (type === boardMime) {
    const { status } = state as BoardState
    return isOver(status) && found.some(({ data }) => (data as BoardData).state.status !== status)
  }
  const { status, turns } = state as ChatState
  return (status === 'ready' || status === 'closed') && found.some(({ data }) => JSON.stringify((data as ChatState).turns) !== JSON.stringify(turns))
}
