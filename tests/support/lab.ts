import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import type { BrowserContext, Page } from 'playwright-core'
import { startServer, type LocalServer } from 'fettle-kernel'
import { jupyterPython } from 'fettle-kernel/dist/driver/server'
import { boardMime } from 'fettle/dist/views'
import type { BoardData } from 'fettle/dist/views/state'
import { browserPath, openBrowser, watch } from './browser'
import { chatModel } from './chat'
import { notebookOf } from './notebook'
import { tinyData } from './tiny'

/** Why there is no lab to walk in; `false` where there is one. */
export const labMissing: string | false = !browserPath() ? 'no Chromium or Chrome'
  : !hasLab() ? 'no JupyterLab; npm run setup -- --with jupyter,lab' : false

function hasLab(): boolean {
  try { return spawnSync(jupyterPython(), ['-c', 'import jupyterlab']).status === 0 } catch { return false }
}

/** Element that holds a board, or a chat box, in JupyterLab. */
export const board = '.fettle-lab-board'
export const chatBox = '.fettle-lab-chat'

/** Cells of a small LoRA run that goes on until it is stopped, on a model and rows that `prepareRun` wrote. */
export function runCell(folder: string, { steps = 50_000, await: waits = true, name = 'run', out = 'out', sample = '{ every: 200, maxNewTokens: 8 }' } = {}): string {
  const at = (part: string) => JSON.stringify(path.join(folder, part))
  return `import { sft, chat } from 'fettle'
const ${name} = await sft(${at('model')}).data(${at('data')}, { maxLength: 96 }).lora({ rank: 4 }).steps(${steps}).batch(8)
  .learningRate(2e-3).schedule('constant').seed(7).evaluate({ every: 200 }).sample(${sample})
  .save({ each: 'never' }).threads(1).output(${at(out)}).start()${waits ? `\nawait ${name}.done` : ''}`
}

/** Writes the tiny model and the rows of `runCell`. */
export function prepareRun(folder: string, rows?: { readonly train: readonly object[]; readonly dev: readonly object[] }): void {
  chatModel(folder)
  const data = tinyData(path.join(folder, 'data'), 60, 4)
  for (const split of rows ? ['train', 'dev'] as const : []) fs.writeFileSync(path.join(data, `${split}.json`), rows![split].map((row) => `${JSON.stringify(row)}\n`).join(''))
}

/** JupyterLab with a browser: what one user has open. */
export class Lab {
  private constructor(readonly folder: string, readonly server: LocalServer, readonly context: BrowserContext) {}

  static async open(t: TestContext, { theme = 'light' as 'light' | 'dark', width = 1300, height = 1000, scale = 1 } = {}): Promise<Lab> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-lab-'))
    const ends: (() => unknown)[] = []
    // Hooks run in the order of their making; here the last opened must be closed first, and the folder goes when nobody writes there.
    t.after(async () => {
      for (const end of ends.reverse()) await end()
      fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
    })
    const home = path.join(folder, '.home')
    const settings = path.join(home, 'config', 'lab', 'user-settings', '@jupyterlab', 'apputils-extension')
    fs.mkdirSync(settings, { recursive: true })
    fs.writeFileSync(path.join(settings, 'themes.jupyterlab-settings'), JSON.stringify({ theme: theme === 'dark' ? 'JupyterLab Dark' : 'JupyterLab Light' }))
    // The page's own object tells when a kernel can take a cell: JupyterLab drops cells that are run before.
    const server = await startServer({ root: folder, module: 'jupyterlab', home, args: ['--LabApp.expose_app_in_browser=True'] })
    ends.push(() => server.stop())
    const browser = await openBrowser()
    ends.push(() => browser.close())
    return new Lab(folder, server, await browser.newContext({ viewport: { width, height }, deviceScaleFactor: scale }))
  }

  /** Writes a notebook of these cells and opens it in a tab of its own. */
  async notebook(cells: readonly string[], name = 'walk.ipynb', view: 'lab' | 'doc' = 'lab'): Promise<LabPage> {
    notebookOf(this.folder, cells, name)
    return this.tab(name, view)
  }

  /** Opens a notebook in one more tab; `doc` shows it alone, without the file browser. In a workspace of its own, so that it does not bring back what other tabs show. */
  async tab(name: string, view: 'lab' | 'doc' = 'lab'): Promise<LabPage> {
    const page = new LabPage(await this.context.newPage(), path.join(this.folder, name)), place = view === 'lab' ? `lab/workspaces/tab-${++this.tabs}` : 'doc'
    await page.page.goto(`${this.server.url}${place}/tree/${name}?token=${this.server.token}`)
    await page.ready()
    return page
  }

  private tabs = 0

  /** Kernels that the server has. */
  async kernels(): Promise<{ id: string; name: string }[]> {
    return await (await fetch(`${this.server.url}api/kernels`, { headers: { Authorization: `token ${this.server.token}` } })).json() as { id: string; name: string }[]
  }
}

/** A notebook's tab, with all that its user sees of it and all that came to it. */
export class LabPage {
  readonly seen: ReturnType<typeof watch>
  readonly dialogs: string[] = []
  /** Bytes that kernels sent to this page. */
  bytes = 0

  constructor(readonly page: Page, readonly file: string) {
    this.seen = watch(page)
    page.on('dialog', (dialog) => {
      // Leaving a page with unsaved changes asks; whatever else opens is not ours.
      if (dialog.type() !== 'beforeunload') this.dialogs.push(dialog.message())
      void dialog.accept()
    })
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
      if (/\/api\/kernels\//.test(socket.url())) this.bytes += payload.length
    }))
  }

  /** Waits until the notebook's kernel takes cells, and nothing covers them. */
  async ready(): Promise<void> {
    await this.until(`(() => {
      const context = globalThis.jupyterapp?.shell.currentWidget?.context?.sessionContext
      return context?.isReady && ['idle', 'busy'].includes(context.kernelDisplayStatus) && context.session?.kernel?.connectionStatus === 'connected'
    })()`, 'a kernel that takes cells', 120_000)
    await this.until("[...document.querySelectorAll('.jp-Spinner')].every((spinner) => spinner.offsetParent === null)", 'no spinner over the notebook', 120_000)
  }

  /** Waits for an expression of the page; fails with what it was meant to be. */
  async until(expression: string, what: string, timeout = 60_000): Promise<void> {
    try {
      await this.page.waitForFunction(expression, undefined, { timeout, polling: 100 })
    } catch (cause) {
      const shown = await this.page.evaluate(`document.querySelector('.jp-Notebook')?.innerText.slice(0, 1500) ?? document.body.innerText.slice(0, 500)`).catch(() => '')
      throw new Error(`still not: ${what}\n${shown}`, { cause })
    }
  }

  /** Puts the cursor into a cell and runs it. */
  async run(index: number): Promise<void> {
    await this.page.locator('.jp-Notebook .jp-CodeCell .cm-content').nth(index).click()
    await this.page.keyboard.press('Shift+Enter')
  }

  status(): Promise<string | null> { return this.page.getAttribute(`${board} .fb-status`, 'data-status') }

  async statusIs(status: string, timeout = 60_000): Promise<void> {
    await this.until(`document.querySelector('${board} .fb-status')?.dataset.status === '${status}'`, `the board says ${status}`, timeout)
  }

  /** Steps done, as the board tells. */
  step(): Promise<number> {
    return this.page.evaluate(stepNow)
  }

  async stepAbove(step: number): Promise<void> { await this.until(`${stepNow} > ${step}`, `a step after ${step}`) }

  /** Points that a chart draws, by its trace. */
  points(chart: string): Promise<number[]> {
    return this.page.evaluate(`(document.querySelector('${board} [data-fettle="board/${chart}"]')?.data ?? []).map(({ x }) => x.length)`)
  }

  /** Presses a button and waits for what the board says then. */
  async press(command: string, says: RegExp): Promise<void> {
    await this.page.click(`${board} [data-command="${command}"]`)
    if (command === 'stop') await this.page.click(`${board} .fb-danger`)
    await this.says(says)
  }

  async says(text: RegExp): Promise<void> {
    await this.until(`${text}.test(document.querySelector('${board} .fb-reply')?.textContent ?? '')`, `the board answers ${text}`)
  }

  /** Waits until no cell of the notebook runs. */
  async idle(timeout = 60_000): Promise<void> { await this.until('document.querySelector(".jp-Notebook-ExecutionIndicator")?.dataset.status === "idle"', 'the kernel is idle', timeout) }

  /** Saves as users do, and reads what was saved. */
  async save(): Promise<{ size: number; outputs: SavedOutput[][] }> {
    await this.page.locator('.jp-Notebook .cm-content').first().click()
    await this.page.keyboard.press('Control+s')
    await this.until('globalThis.jupyterapp.shell.currentWidget.context.model.dirty === false', 'the notebook is saved')
    const cells = JSON.parse(fs.readFileSync(this.file, 'utf8')).cells as { outputs?: SavedOutput[] }[]
    return { size: fs.statSync(this.file).size, outputs: cells.map(({ outputs }) => outputs ?? []) }
  }

  /** Waits until the notebook itself, not its page alone, holds the end of the run: that comes a moment after the end. */
  async keeps(status: string): Promise<void> {
    await this.until(`(() => {
      const cells = globalThis.jupyterapp.shell.currentWidget.context.model.cells
      return Array.from({ length: cells.length }, (_, i) => cells.get(i)).some(({ outputs }) => outputs && Array.from({ length: outputs.length }, (_, i) => outputs.get(i))
        .some(({ data }) => data['${boardMime}']?.state.status === '${status}' && String(data['text/html'] ?? '').includes('data:image/svg+xml')))
    })()`, `the notebook keeps a board that says ${status}`)
  }

  /** How much wider than its window the notebook is, in px. */
  overflow(): Promise<number> {
    return this.page.evaluate(`Math.max(...['.jp-WindowedPanel-outer', '.jp-Notebook', '.jp-OutputArea-output', '.jp-Cell'].flatMap((name) => [...document.querySelectorAll(name)].map((element) => element.scrollWidth - element.clientWidth)))`)
  }
}

/** Number of steps in the board's first figure: \`1,234 / 50,000\`. */
const stepNow = `Number((document.querySelector('${board} .fb-figures dd')?.textContent ?? '').split('/')[0].replace(/\\D/g, '') || 0)`

/** One output of a saved notebook. */
export interface SavedOutput { readonly output_type: string; readonly data?: Readonly<Record<string, any>> }

/** The board that a saved output holds. */
export function boardOf(outputs: readonly SavedOutput[]): BoardData | undefined {
  return outputs.find(({ data }) => data && boardMime in data)?.data?.[boardMime] as BoardData | undefined
}
