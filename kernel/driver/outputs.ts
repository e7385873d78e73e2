import type { MimeData, NotebookCell, NotebookOutput } from './notebook'

/** A message on the kernel's iopub channel, as far as outputs go. */
export interface OutputMessage { readonly type: string; readonly content: Record<string, unknown> }

/** What a message changed. */
export interface OutputChange {
  /** Number of the cell, from 0. */
  readonly cell: number
  /** The output as it is now; of a stream only the new text. */
  readonly output: NotebookOutput
  /** True when it took the place of an earlier one. */
  readonly update: boolean
}

/** Collects the outputs of a notebook's cells as a notebook client does: streams merge, displays update wherever they
 * stand, clearing may wait for the next output. */
export class Outputs {
  private readonly displays = new Map<string, { cell: number; output: NotebookOutput }[]>()
  private readonly clearing = new Set<number>()

  constructor(private readonly cells: readonly NotebookCell[]) {}

  /** Takes one message that answers the execution of cell `index`. */
  take(index: number, { type, content }: OutputMessage): OutputChange[] {
    switch (type) {
      case 'stream': return this.stream(index, content as { name: 'stdout' | 'stderr'; text: string })
      case 'display_data': return this.add(index, { output_type: 'display_data', ...dataOf(content) }, displayIdOf(content))
      case 'execute_result':
        return this.add(index, { output_type: 'execute_result', ...dataOf(content), execution_count: (content.execution_count as number) ?? null }, displayIdOf(content))
      case 'error':
        return this.add(index, { output_type: 'error', ename: String(content.ename), evalue: String(content.evalue), traceback: (content.traceback as string[]) ?? [] })
      case 'update_display_data': return this.update(content)
      case 'clear_output': if (content.wait) this.clearing.add(index); else this.clear(index); return []
      default: return []
    }
  }

  private list(index: number): NotebookOutput[] {
    const cell = this.cells[index]
    if (this.clearing.delete(index)) this.clear(index)
    return (cell.outputs ??= [])
  }

  private clear(index: number): void {
    this.cells[index].outputs = []
    for (const shown of this.displays.values()) shown.splice(0, Infinity, ...shown.filter((place) => place.cell !== index))
  }

  private stream(index: number, { name, text }: { name: 'stdout' | 'stderr'; text: string }): OutputChange[] {
    const list = this.list(index)
    const last = list.at(-1)
    if (last?.output_type === 'stream' && last.name === name) last.text += text
    else list.push({ output_type: 'stream', name, text })
    // The listener gets the new text alone.
    return [{ cell: index, output: { output_type: 'stream', name, text }, update: false }]
  }

  private add(index: number, output: NotebookOutput, displayId: string | null = null): OutputChange[] {
    this.list(index).push(output)
    if (displayId !== null) this.displays.set(displayId, [...(this.displays.get(displayId) ?? []), { cell: index, output }])
    return [{ cell: index, output, update: false }]
  }

  private update(content: Record<string, unknown>): OutputChange[] {
    const places = this.displays.get(displayIdOf(content) ?? '') ?? []
    return places.map(({ cell, output }) => {
      Object.assign(output, dataOf(content))
      return { cell, output, update: true }
    })
  }
}

function dataOf(content: Record<string, unknown>): { data: MimeData; metadata: Record<string, unknown> } {
  return { data: (content.data as MimeData) ?? {}, metadata: (content.metadata as Record<string, unknown>) ?? {} }
}

function displayIdOf(content: Record<string, unknown>): string | null {
  return (content.transient as { display_id?: string } | undefined)?.display_id ?? null
}
