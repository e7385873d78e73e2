import { board } from 'fettle/dist/views'
import { boardMime, type BoardData } from 'fettle/dist/views/state'
import type { RunEvent } from 'fettle'
import type { Cell } from './cell'
import type { MimeBundle } from './values'

/** The cell that holds the chart library, so that a page gets it once: the id that its client told, and the execution. */
let libraryCell: { id: string; count: number } | null = null

/** Whether the outputs of this cell must bring the library: no other cell of the notebook holds it, or this one was run
 * again and lost it. A client that tells no cell ids gets it with each cell. */
export function needsLibrary(cell: Cell): boolean {
  if (cell.id === null) return true
  if (libraryCell && libraryCell.id !== cell.id) return false
  libraryCell = { id: cell.id, count: cell.count }
  return true
}

export function bundleOfBoard(data: BoardData, _library: boolean, _moment: 'live' | 'end', events: readonly RunEvent[]): MimeBundle {
  const { html, text } = board(events)
  return { [boardMime]: data, 'text/html': html, 'text/plain': text }
}
