// Bundles the lab extension into kernel/dist/labextension, in the layout that JupyterLab loads prebuilt extensions from.
import { build } from 'esbuild'
import { fileURLToPath } from 'node:url'
import path from 'node:path'

const here = path.dirname(fileURLToPath(import.meta.url))
await build({
  entryPoints: [path.join(here, 'index.ts')], outfile: path.join(here, '..', 'dist', 'labextension', 'static', 'remoteEntry.js'),
  bundle: true, format: 'iife', target: 'es2022', minify: true, legalComments: 'none', logLevel: 'warning',
})
