// Bundles the lab extension into kernel/dist/labextension, in the layout that JupyterLab loads prebuilt extensions from:
// package.json, and in static/ the container and Plotly, which the page fetches when it draws its first chart.
import { build } from 'esbuild'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import path from 'node:path'

const here = path.dirname(fileURLToPath(import.meta.url))
const folder = path.join(here, '..', 'dist', 'labextension')
const { version, license, description } = JSON.parse(readFileSync(path.join(here, '..', 'package.json'), 'utf8'))
const common = { bundle: true, format: 'iife', target: 'es2022', minify: true, legalComments: 'none', logLevel: 'warning', write: false }

const [container, plotly] = await Promise.all([
  build({ ...common, entryPoints: [path.join(here, 'index.ts')] }),
  // The page has an AMD loader, which Plotly would register with.
  build({ ...common, define: { define: 'undefined' }, stdin: { contents: "window.fettlePlotly = require('plotly.js-basic-dist-min')", resolveDir: here } }),
])

rmSync(folder, { recursive: true, force: true })
mkdirSync(path.join(folder, 'static'), { recursive: true })
/** Names carry their content, because browsers keep these files. */
function put(name, { outputFiles: [{ contents }] }) {
  const file = `static/${name}.${createHash('sha256').update(contents).digest('hex').slice(0, 12)}.js`
  writeFileSync(path.join(folder, file), contents)
  return file
}
const plotlyFile = put('plotly', plotly)
const text = container.outputFiles[0].text.replaceAll('__PLOTLY_FILE__', path.basename(plotlyFile))
const load = put('remoteEntry', { outputFiles: [{ contents: Buffer.from(text) }] })
writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify({
  name: 'fettle-lab', version, description: 'Fettle in JupyterLab: live boards and chats', license, author: 'Fettle', keywords: ['jupyterlab-extension'],
  jupyterlab: { extension: true, _build: { load, extension: './extension' } },
}, null, 2)}\n`)
