// Bundles the panel for pages: sdk/dist/page/panel.js, one script without modules.
import { build } from 'esbuild'
import { fileURLToPath } from 'node:url'
import path from 'node:path'

const here = path.dirname(fileURLToPath(import.meta.url))
await build({
  entryPoints: [path.join(here, 'panel.ts')], outfile: path.join(here, '..', '..', 'dist', 'page', 'panel.js'),
  bundle: true, format: 'iife', target: 'es2022', minify: true, legalComments: 'none', logLevel: 'warning',
})
