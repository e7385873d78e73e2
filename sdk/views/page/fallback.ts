import type { BoardData } from '../state'
import type { BoardPanel, PlotlyLike } from './api'
import { mountBoard } from './board'

/** What an output's script hands over: the script itself, by which its place is found, and the newest board. */
interface Pushed { readonly script: HTMLScriptElement | null; readonly data: BoardData }

interface Entry { readonly run: string; place: HTMLElement; parent: Node | null; readonly panel: BoardPanel; focus: HTMLElement | null }

declare global {
  interface Window {
    fettleBoards?: Pushed[] | { push(pushed: Pushed): void }
    fettleLibrary?: () => Promise<PlotlyLike>
  }
}

/** How often and how long a place is waited for: pages attach outputs in any order. */
const wait = { each: 150, times: 400 }

const entries = new Set<Entry>()

/** Places of a run that hold no panel yet. */
function placesOf(run: string): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>('[data-fettle-board]')].filter((place) => place.dataset.fettleBoard === run && place.dataset.fettleMounted === undefined)
}

/** The place beside the script, where the page ran it in its own place. */
function placeBeside(script: HTMLScriptElement | null): HTMLElement | null {
  let element: Element | null = script?.previousElementSibling ?? null
  while (element && !(element instanceof HTMLElement && element.dataset.fettleBoard !== undefined)) element = element.previousElementSibling
  return element
}

function library(): Promise<PlotlyLike> {
  return window.fettleLibrary ? window.fettleLibrary() : new Promise((resolve) => { setTimeout(() => resolve(library()), wait.each) })
}

/** Moves the panel of an output that was replaced into its successor: charts, slider and focus stay as they are. */
function adopt(place: HTMLElement, run: string): Entry | null {
  for (const entry of entries) {
    if (entry.run !== run || entry.place.isConnected || entry.parent !== place.parentNode) continue
    place.replaceChildren(...entry.place.childNodes)
    entry.place = place
    entry.focus?.focus({ preventScroll: true })
    return entry
  }
  return null
}

function mount(place: HTMLElement, run: string): Entry {
  place.classList.remove('fettle-board')
  place.dataset.fettleMounted = ''
  const kept = adopt(place, run)
  if (kept) return kept
  const entry: Entry = { run, place, parent: place.parentNode, panel: mountBoard(place, library), focus: null }
  const root = place.firstElementChild!
  root.addEventListener('focusin', (event) => { entry.focus = event.target as HTMLElement })
  // Elements that are taken off the page lose the focus, too; that is no wish of the reader.
  root.addEventListener('focusout', () => queueMicrotask(() => { if (root.isConnected && !root.contains(document.activeElement)) entry.focus = null }))
  entries.add(entry)
  return entry
}

function show({ script, data }: Pushed, left: number): void {
  const { run } = data.state
  const beside = placeBeside(script)
  const places = new Set(placesOf(run))
  if (beside && beside.dataset.fettleMounted === undefined) places.add(beside)
  for (const place of places) mount(place, run)
  const shown = [...entries].filter((entry) => entry.run === run)
  for (const { panel } of shown) { panel.update(data.state); panel.updateSamples(data.samples) }
  if (places.size === 0 && shown.length === 0 && left > 0) setTimeout(() => show({ script, data }, left - 1), wait.each)
}

/** Boards of outputs that were drawn before this script ran, and of all that follow. */
export function serveOutputs(): void {
  const waiting = window.fettleBoards
  window.fettleBoards = { push: (pushed: Pushed) => show(pushed, wait.times) }
  if (Array.isArray(waiting)) for (const pushed of waiting) show(pushed, wait.times)
}
