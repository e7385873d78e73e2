import type { RunEvent } from '../run/events'

/** What a display needs of a run: its events so far, its end, and a way to stop it where it is ours to stop (one that
 * `attach` watches is not). */
export interface LiveRun {
  readonly events: readonly RunEvent[]
  readonly done: Promise<unknown>
  stop?(): unknown
}

/** A notebook kernel puts its display here; elsewhere there is none, and runs stay silent. */
const displayHook = Symbol.for('fettle.display')

/**
 * Draws a run under the current cell, live until it is over. `start()` does it by itself inside the Fettle kernel; call it to
 * see a run again under another cell, or one that `attach` watches. Outside of a notebook nothing happens.
 */
export function show(run: LiveRun): void {
  const hook = (globalThis as unknown as Record<symbol, unknown>)[displayHook]
  if (typeof hook === 'function') hook(run)
}
