import type { RunEvent } from '../run/events'

/** What a display needs of a run: its events so far and its end; and the controls that it has. */
export interface LiveRun {
  /** The same for every handle of one run. */
  readonly id?: string
  /** The output folder. */
  readonly dir?: string
  /** All events so far, oldest first. */
  readonly events: readonly RunEvent[]
  /** Settles when the run is over. */
  readonly done: Promise<unknown>
  /** The long step before training that runs now. */
  readonly progress?: { readonly stage: string; readonly done: number; readonly total: number | null } | null
  /** Outlives the process that started it: neither interrupt nor shutdown of a kernel ends it. */
  readonly detached?: boolean
  /** Stops with a checkpoint. */
  stop?(): Promise<unknown>
  /** Stands still between two steps. */
  pause?(): Promise<unknown>
  /** Goes on after a pause. */
  resume?(): Promise<unknown>
  /** Writes a checkpoint. */
  save?(): Promise<unknown>
  /** Answers the sample prompts. */
  sample?(): Promise<unknown>
  /** Evaluates on the dev rows. */
  evaluate?(): Promise<unknown>
  /** Changes the base learning rate. */
  set?(values: { readonly learningRate: number }): Promise<unknown>
}

/** What a kernel's display is told beside the run. `board` false: an interrupt stops the run as any other, and nothing is drawn. */
export interface DisplayOptions { readonly board?: boolean }

/** A notebook kernel puts its display here; elsewhere there is none, and runs stay silent. */
export const displayHook = Symbol.for('fettle.display')

/** A notebook kernel puts its display of chats here: it is called with each new `Chat`. Elsewhere there is none. */
export const chatHook = Symbol.for('fettle.chat')

/** A notebook kernel puts its display of other objects here: it is called with what shall stand under the cell that runs. Elsewhere there is none. */
export const showHook = Symbol.for('fettle.show')

/**
 * Draws a run under the current cell, live until it is over. `start()` does it by itself inside the Fettle kernel; call it to
 * see a run again under another cell, or one that `attach` watches. Outside of a notebook nothing happens.
 */
export function show(run: LiveRun): void { callHook(displayHook, run) }

/** Tells the notebook kernel, where this is one, of a run, a chat or another object. @returns whether it is one */
export function callHook(name: symbol, value: object, options: DisplayOptions = {}): boolean {
  const hook = (globalThis as unknown as Record<symbol, unknown>)[name]
  if (typeof hook !== 'function') return false
  hook(value, options)
  return true
}
