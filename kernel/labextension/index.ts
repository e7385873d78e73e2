import { fettlePlugin, type PageModules } from './plugin'
import { shared, type SharedScope } from './shared'

/** What JupyterLab expects of a prebuilt extension: webpack's container, written by hand because one file is all there is. */
interface Container {
  init(scope: SharedScope): void
  get(module: string): Promise<() => unknown>
}

declare global {
  interface Window { _JUPYTERLAB?: Record<string, Container> }
}

let scope: SharedScope = {}

async function extension(): Promise<() => unknown> {
  const [rendermime, notebook, widgets] = await Promise.all([
    shared<PageModules['rendermime']>(scope, '@jupyterlab/rendermime'),
    shared<NonNullable<PageModules['notebook']>>(scope, '@jupyterlab/notebook'),
    shared<PageModules['widgets']>(scope, '@lumino/widgets'),
  ])
  if (!rendermime || !widgets) throw new Error('this page shares no @jupyterlab/rendermime or @lumino/widgets; Fettle needs JupyterLab 4 or Notebook 7')
  const plugin = fettlePlugin({ rendermime, notebook, widgets })
  return () => ({ __esModule: true, default: plugin })
}

const containers = window._JUPYTERLAB ??= {}
containers['fettle-lab'] = {
  init(given) { scope = given },
  get(module) {
    if (module !== './extension') return Promise.reject(new Error(`fettle-lab has no module ${module}`))
    return extension()
  },
}
