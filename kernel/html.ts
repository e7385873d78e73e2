import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { NotebookError } from './driver/error'
import { isolatedEnvironment, jupyterPython } from './driver/server'

/**
 * Writes an executed notebook as one HTML page that needs no server and asks no other host for anything: charts, library and
 * styles are inside. Made by nbconvert; what it would load from elsewhere (MathJax, RequireJS) is taken out.
 */
export async function exportHtml(notebook: string, target: string): Promise<void> {
  const work = mkdtempSync(path.join(tmpdir(), 'fettle-html-'))
  try {
    await promisify(execFile)(jupyterPython(), ['-m', 'nbconvert', '--to', 'html', '--output-dir', work, '--output', 'page', path.resolve(notebook)],
      { env: isolatedEnvironment(work), maxBuffer: 1 << 24 })
    writeFileSync(target, withoutRemote(readFileSync(path.join(work, 'page.html'), 'utf8')))
  } catch (cause) {
    const { stderr = '' } = cause as { stderr?: string }
    throw new NotebookError('notebook.html', `cannot write ${target} from ${notebook}: ${stderr.trim().split('\n').at(-1) || (cause as Error).message}`, { notebook, target }, { cause })
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** The page without elements that fetch from another host; MathJax's settings go with it. */
export function withoutRemote(page: string): string {
  return page
    .replace(/<script[^>]*\ssrc="https?:[^"]*"[^>]*>\s*<\/script>/g, '')
    .replace(/<link[^>]*\shref="https?:[^"]*"[^>]*>/g, '')
    .replace(/<script type="text\/x-mathjax-config">[\s\S]*?<\/script>/g, '')
    // nbconvert loads Mermaid as a module even where no cell has a diagram.
    .replace(/<script type="module">[\s\S]*?<\/script>/g, (script) => /https?:\/\//.test(script) ? '' : script)
}
