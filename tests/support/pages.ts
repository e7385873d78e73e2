import * as fs from 'node:fs'
import * as path from 'node:path'
import type { Page } from 'playwright-core'
import type { ChatState } from 'fettle/dist/chat/state'
import type { BoardData } from 'fettle/dist/views/state'
import { repoRoot } from './paths'
import { keptFonts } from './pictures'

/** How a panel's page looks. */
export interface PanelPage {
  readonly theme?: 'light' | 'dark'
  /** Width of the window in px. Default 1000. */
  readonly width?: number
  /** Draws with the fonts of the kept pictures, not with the machine's. */
  readonly keptFonts?: boolean
  /** Gives the board buttons: what a command is answered with, `error: …` to refuse it. */
  readonly replies?: Readonly<Record<string, string>>
}

const panelFile = path.join(repoRoot, 'sdk', 'dist', 'page', 'panel.js')

/** An empty page of its own, without a server, that holds the panel's script and Plotly, and `div#panel`. */
export async function openPanelPage(page: Page, { theme = 'light', width = 1000, keptFonts: fonts = false }: PanelPage = {}): Promise<void> {
  await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' })
  await page.setViewportSize({ width, height: 900 })
  const ground = theme === 'dark' ? '#111417' : '#ffffff'
  await page.setContent(`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A panel</title><style>body{margin:16px;background:${ground}}</style></head><body><main><div id="panel"></div></main></body></html>`)
  if (fonts) await keptFonts(page)
  await page.addScriptTag({ content: fs.readFileSync(require.resolve('plotly.js-basic-dist-min', { paths: [path.join(repoRoot, 'sdk')] }), 'utf8') })
  await page.addScriptTag({ content: fs.readFileSync(panelFile, 'utf8') })
}

/** Mounts a board on `page` and waits until its charts stand. Later states go through {@link updateBoard}. */
export async function showBoard(page: Page, data: BoardData, options: PanelPage = {}): Promise<void> {
  await openPanelPage(page, options)
  await page.evaluate('globalThis.board = fettlePanel.mountBoard(document.getElementById("panel"), async () => globalThis.Plotly); globalThis.asked = []')
  if (options.replies) await page.evaluate(`globalThis.board.setHost({ command: async (command) => {
    globalThis.asked.push(command)
    const reply = ${JSON.stringify(options.replies)}[command.name] ?? 'done'
    if (reply.startsWith('error: ')) throw new Error(reply.slice(7))
    return reply
  } })`)
  await updateBoard(page, data)
}

/** Gives the board of `page` a new state. */
export async function updateBoard(page: Page, { state, samples }: BoardData): Promise<void> {
  await page.evaluate(`board.update(${JSON.stringify(state)}); board.updateSamples(${JSON.stringify(samples)})`)
  if (state.series.step.length > 0) await page.waitForFunction('[...document.querySelectorAll(".fb-plot")].filter((plot) => plot.querySelector(".trace, .scatterlayer")).length >= 6')
}

/** Mounts a chat box on `page`. */
export async function showChat(page: Page, state: ChatState, options: PanelPage = {}): Promise<void> {
  await openPanelPage(page, options)
  await page.evaluate('globalThis.asked = []; globalThis.chat = fettlePanel.mountChat(document.getElementById("panel")); chat.setHost({ ask: (text) => asked.push(text), cancel: () => asked.push("cancel"), clear: () => asked.push("clear") })')
  await page.evaluate(`chat.update(${JSON.stringify(state)})`)
}

/** Puts an object's own view on `page`, as a notebook's output area does. */
export async function showObject(page: Page, view: { readonly 'text/html': string }, options: PanelPage = {}): Promise<void> {
  await openPanelPage(page, options)
  const { theme = 'light' } = options
  // JupyterLab's colours, which these views take from its page.
  await page.addStyleTag({ content: theme === 'dark' ? ':root{--jp-ui-font-color1:#e6e9ec;--jp-ui-font-color2:#a9b2bc;color-scheme:dark}' : ':root{--jp-ui-font-color1:#1f2328;--jp-ui-font-color2:#5b6570}' })
  await page.evaluate(`document.body.dataset.jpThemeLight = ${JSON.stringify(String(theme === 'light'))}; document.getElementById('panel').innerHTML = ${JSON.stringify(view['text/html'])}`)
}
