import './compile-cache'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { shareModules } from './session/resolve'

/** Entry of the kernel process: `node launch.js CONNECTION_FILE`, as kernel.json says. */
async function launch(connectionFile: string): Promise<void> {
  shareModules(path.dirname(__dirname))
  // Node's ten frames often end before the cell that called.
  Error.stackTraceLimit = 40
  // After shareModules: tslab takes its compiler and its module paths as they stand when it is loaded.
  const { Server } = await import('./session/server.js')
  const { TypeScriptSession } = await import('./session/session.js')
  let session: InstanceType<typeof TypeScriptSession> | undefined
  const server = new Server(JSON.parse(readFileSync(connectionFile, 'utf8')), (self) => (session = new TypeScriptSession(self)))
  process.on('SIGINT', () => session?.interrupt())
  process.on('SIGTERM', () => { void session?.shutdown().finally(() => process.exit(0)) })
  // What a cell left behind must not end the session: it is told under that cell.
  process.on('uncaughtException', (error) => session?.stray('Not caught, behind the cell (the kernel goes on):', error))
  process.on('unhandledRejection', (reason) => session?.stray('A rejected promise that nobody awaits (the kernel goes on):', reason))
  // A server that was killed sends no shutdown; a kernel without its parent ends, and its workers with it.
  const parent = process.ppid
  setInterval(() => { if (process.ppid !== parent) void session?.shutdown().finally(() => process.exit(1)) }, 2_000).unref()
  await server.start()
  session?.warm()
}

void launch(process.argv[2])
