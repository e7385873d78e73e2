import type { IRenderMime } from '@jupyterlab/rendermime-interfaces'
import type { Kernel } from '@jupyterlab/services'

/* The parts of JupyterLab's page that this extension touches. Its packages come from the page itself, so that only their
 * shapes are needed here. */

export interface Signal<Sender, Args> {
  connect(slot: (sender: Sender, args: Args) => void): boolean
  disconnect(slot: (sender: Sender, args: Args) => void): boolean
}

/** One output of a cell; `type` as in nbformat, `data` is its MIME bundle. */
export interface OutputModel { readonly type: string; readonly data: Readonly<Record<string, unknown>> }

export interface OutputAreaModel {
  readonly length: number
  get(index: number): OutputModel
  add(output: object): number
  set(index: number, output: object): void
}

/** Only code cells have outputs. */
export interface CellModel { readonly id: string; readonly outputs?: OutputAreaModel }

export interface NotebookModel { readonly cells: { readonly length: number; get(index: number): CellModel } }

export interface SessionContext {
  readonly session: { readonly kernel: Kernel.IKernelConnection | null } | null
  readonly kernelChanged: Signal<unknown, { readonly newValue: Kernel.IKernelConnection | null }>
}

export interface NotebookPanel {
  readonly model: NotebookModel | null
  readonly sessionContext: SessionContext
  readonly disposed: Signal<unknown, void>
}

export interface NotebookTracker {
  readonly widgetAdded: Signal<unknown, NotebookPanel>
  forEach(take: (panel: NotebookPanel) => void): void
}

export interface RenderMimeRegistry { addFactory(factory: IRenderMime.IRendererFactory, rank?: number): void }

/** Lumino's widget, as far as a renderer extends it. */
export type WidgetClass = new () => { readonly node: HTMLElement; readonly isDisposed: boolean; addClass(name: string): void; dispose(): void }
