import path from 'node:path'
import { FettleError } from 'fettle/dist/errors'
import { startServer } from './driver'

const root = path.resolve(__dirname, '..', '..')

/** Starts JupyterLab with the Fettle kernel on the notebooks of this checkout, and prints the one address to open. */
async function main(): Promise<void> {
  try {
    const server = await startServer({ root, module: 'jupyterlab', home: path.join(root, '.fettle', 'lab') })
    const url = new URL('lab/tree/notebooks/quickstart.ipynb', server.url)
    url.searchParams.set('token', server.token)
    console.log(`JupyterLab is ready; open\n  ${url}\nStop it with Ctrl-C.`)
    const stop = () => { void server.stop().finally(() => process.exit(0)) }
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
    server.process.once('exit', (code) => process.exit(code ?? 1))
  } catch (error) {
    if (!(error instanceof FettleError)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}

void main()
