import { existsSync, readFileSync } from 'node:fs'
import * as path from 'node:path'
import { gzipSync } from 'node:zlib'
import { EnvironmentError } from '../errors'
import { Html } from './html'

let made: Html | null = null

/** A file as gzip and base64, a third of its size, which the page unpacks by itself: no server is asked for it. */
function packed(file: string): string {
  return gzipSync(readFileSync(file), { level: 9 }).toString('base64')
}

function panelFile(): string {
  const file = path.join(__dirname, '..', 'page', 'panel.js')
  if (!existsSync(file)) throw new EnvironmentError('views.notBuilt', `expected the board's script in ${file}, found none; run npm run build`, { file })
  return file
}

/**
 * The script that a page needs once: the panel, and Plotly, unpacked when there is something to draw. Plotly is run as a
 * CommonJS module, because a page may have an AMD loader that a plain script would register with instead of giving us the library.
 */
export function libraryScript(): Html {
  made ??= new Html(`<script type="text/javascript">(() => {
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text()
  }
  let plotly
  window.fettleLibrary = window.fettleLibrary || (() => plotly = plotly || unpack('${packed(require.resolve('plotly.js-basic-dist-min'))}').then((text) => {
    const module = { exports: {} }
    new Function('module', 'exports', text)(module, module.exports)
    return module.exports
  }))
  if (!window.fettlePanel) unpack('${packed(panelFile())}').then((text) => { if (!window.fettlePanel) new Function(text)() })
})()</script>`)
  return made
}
