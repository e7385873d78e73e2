import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { EnvironmentError } from 'fettle/dist/errors'
import { installExtension, installSpec } from '../spec'

/** The Python that holds Jupyter: `FETTLE_JUPYTER`, else the one that the set-up made in this checkout. */
export function jupyterPython(): string {
  const asked = process.env.FETTLE_JUPYTER
  const bin = process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python']
  const python = asked || path.resolve(__dirname, '..', '..', '..', '.fettle', 'jupyter', ...bin)
  if (!existsSync(python))
    throw new EnvironmentError('jupyter.missing', `no Jupyter at ${python}; run: npm run setup -- --with jupyter (or set FETTLE_JUPYTER to a Python that has jupyter_server)`, { python })
  return python
}

/** Environment in which Jupyter sees only the folder `home`: no configuration, kernel or running server of the user. */
export function isolatedEnvironment(home: string): NodeJS.ProcessEnv {
  const { JUPYTER_PATH, JUPYTER_CONFIG_PATH, JUPYTER_TOKEN, JUPYTER_PORT, ...rest } = process.env
  return {
    ...rest, JUPYTER_CONFIG_DIR: path.join(home, 'config'), JUPYTER_DATA_DIR: path.join(home, 'data'), JUPYTER_RUNTIME_DIR: path.join(home, 'runtime'),
    JUPYTER_PLATFORM_DIRS: '1', IPYTHONDIR: path.join(home, 'ipython'), PYTHONDONTWRITEBYTECODE: '1',
  }
}

/** A Jupyter server of our own. */
export interface LocalServer {
  /** Its address, on the loopback. */
  readonly url: string
  /** Lets a client in. */
  readonly token: string
  /** Ends by `stop()`. */
  readonly process: ChildProcess
  /** Ends it and its kernels. */
  stop(): Promise<void>
}

/** Options of `startServer`. */
export interface LocalServerOptions {
  /** Folder that notebooks stand in; kernels start there. */
  readonly root: string
  /** Further command-line arguments. */
  readonly args?: readonly string[]
  /** Module that is run; the bare server unless JupyterLab is asked for. */
  readonly module?: 'jupyter_server' | 'jupyterlab'
  /** Folder for its settings and logs, kept for the next time. Default: a temporary one. */
  readonly home?: string
  /** ms until it must answer. Default 60000. */
  readonly timeout?: number
}

/** Starts a Jupyter server that listens on the loopback alone, with a token of its own, and knows our kernel and no other
 * state of the user. */
export async function startServer({ root, args = [], module = 'jupyter_server', timeout = 60_000, home: kept }: LocalServerOptions): Promise<LocalServer> {
  const home = kept ?? mkdtempSync(path.join(tmpdir(), 'fettle-jupyter-'))
  installSpec(path.join(home, 'data', 'kernels', 'fettle'))
  if (module === 'jupyterlab') {
    installExtension(path.join(home, 'data', 'labextensions', 'fettle-lab'))
    keepToItself(home)
  }
  const token = randomBytes(24).toString('hex')
  const log = path.join(home, 'server.log')
  const command = ['-m', module, '--no-browser', '--ServerApp.ip=127.0.0.1', '--ServerApp.port=0', `--ServerApp.root_dir=${root}`,
    '--ServerApp.open_browser=False', '--ServerApp.allow_root=True', '--ServerApp.use_redirect_file=False', '--KernelSpecManager.ensure_native_kernel=False', ...args]
  // The token goes by the environment: arguments can be read by every user of the machine.
  const child = spawn(jupyterPython(), command, { cwd: root, env: { ...isolatedEnvironment(home), JUPYTER_TOKEN: token }, stdio: ['ignore', 'pipe', 'pipe'] })
  const sink = createWriteStream(log)
  child.stdout.pipe(sink, { end: false })
  child.stderr.pipe(sink, { end: false })
  const endWithUs = () => { child.kill('SIGTERM') }
  process.once('exit', endWithUs)
  const stop = async () => {
    process.off('exit', endWithUs)
    await ended(child)
    sink.end()
    if (kept === undefined) rmSync(home, { recursive: true, force: true })
  }
  try {
    return { url: await address(child, path.join(home, 'runtime'), token, timeout, log), token, process: child, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** JupyterLab would ask the network for news and updates. */
function keepToItself(home: string): void {
  const folder = path.join(home, 'config', 'labconfig')
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'page_config.json'), JSON.stringify({ disabledExtensions: { '@jupyterlab/apputils-extension:announcements': true } }))
}

/** The server tells its address in a file of its runtime folder, once it listens. */
async function address(child: ChildProcess, runtime: string, token: string, timeout: number, log: string): Promise<string> {
  const until = Date.now() + timeout
  const refuse = (what: string) => new EnvironmentError('jupyter.start', `the Jupyter server ${what}; its last lines:\n${readFileSync(log, 'utf8').split('\n').slice(-12).join('\n')}`, {})
  while (Date.now() < until) {
    if (child.exitCode !== null || child.signalCode !== null) throw refuse(`ended with ${child.signalCode ?? child.exitCode}`)
    const file = existsSync(runtime) ? readdirSync(runtime).find((name) => name === `jpserver-${child.pid}.json`) : undefined
    if (file) {
      const { url } = JSON.parse(readFileSync(path.join(runtime, file), 'utf8') || '{}') as { url?: string }
      const answer = url ? await fetch(`${url}api/status`, { headers: { Authorization: `token ${token}` } }).catch(() => null) : null
      if (url && answer?.ok) return url
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw refuse(`did not answer within ${timeout / 1000} s`)
}

/** Asks a process to end, and makes it end after 8 s. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 8_000)
  await exit
  clearTimeout(timer)
}
