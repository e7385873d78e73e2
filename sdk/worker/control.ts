import { randomBytes, timingSafeEqual } from 'node:crypto'
import * as fs from 'node:fs'
import * as net from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import type { Plan } from '../plan/plan'
import { isAlive, within } from '../process'
import { controlName, JsonLines, readControl, type ControlRecord } from '../run/control'
import type { FromWorker, ToWorker } from '../run/protocol'
import type { Channel, Front } from './channel'
import type { Reporter } from './reporter'

/** Longest path of a socket, in bytes: the kernel's structure has 108 on Linux and 104 on macOS, its zero included. */
const longestPath = 103
/** Characters of a line: of a stranger, and of a front. */
const longestLine = { stranger: 1024, front: 64 * 2 ** 20 }
/** Bytes that may wait for a front that does not read. */
const mostWaiting = 64 * 2 ** 20
/** A stranger that says nothing is let go, ms. */
const patience = 10_000
const temporaryPrefix = 'fettle-run-'

/** What others may know of the run. */
export interface Controlled { readonly run: string; readonly plan: Plan; readonly detached: boolean }

/** The worker's socket for fronts that did not start it. */
export interface Control {
  /** Takes leave of the fronts and removes what stands on disk. */
  close(): Promise<void>
}

/**
 * Opens the run's control socket and writes `control.json`: both for this user alone. Where no socket can be opened the
 * run goes on with a warning.
 */
export async function openControl(channel: Channel, { run, plan, detached }: Controlled, reporter: Reporter): Promise<Control> {
  const output = path.resolve(plan.output), token = randomBytes(32).toString('hex')
  const connections = new Set<net.Socket>()
  let server: net.Server | null = null, socket: string | null = null
  try {
    fs.mkdirSync(output, { recursive: true })
    removeStale(output)
    const listening = await listen(output, (connection) => {
      channel.touch()
      connections.add(connection)
      connection.on('close', () => connections.delete(connection))
      welcome(connection, token, channel)
    })
    server = listening.server
    socket = listening.socket
  } catch (error) {
    reporter.warn('run.control', `no control socket for attach(): ${(error as Error).message}; the run goes on, and can be stopped with kill ${process.pid}`)
  }
  const record: ControlRecord = { version: 1, run, pid: process.pid, host: os.hostname(), time: Date.now(), detached, socket, token, plan }
  try { writeRecord(output, record) } catch { /* A folder that cannot be written fails the run with its log. */ }
  const remove = (): void => removeRecord(output, record)
  process.on('exit', remove)
  return {
    async close() {
      server?.close()
      await within(1000, Promise.all([...connections].map((connection) => new Promise<void>((resolve) => connection.end(resolve)))))
      remove()
    },
  }
}

/** In the output folder; where that path is too long or its file system knows no sockets, in a private folder of the temp dir. */
async function listen(output: string, onConnection: (socket: net.Socket) => void): Promise<{ server: net.Server; socket: string }> {
  const here = path.join(output, `control-${randomBytes(3).toString('hex')}.sock`)
  if (Buffer.byteLength(here) <= longestPath) {
    try { return await listenAt(here, onConnection) } catch { /* A network or shared folder without sockets. */ }
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), temporaryPrefix)) // for this user alone
  try {
    return await listenAt(path.join(folder, 'control.sock'), onConnection)
  } catch (error) {
    fs.rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

function listenAt(socket: string, onConnection: (socket: net.Socket) => void): Promise<{ server: net.Server; socket: string }> {
  return new Promise((resolve, reject) => {
    const server = net.createServer(onConnection)
    server.on('error', reject)
    // The socket is bound inside `listen`: nobody else can reach it even before chmod.
    const before = process.umask(0o177)
    try { server.listen(socket, () => resolve({ server, socket })) } finally { process.umask(before) }
  })
}

/** Listens to a connection once it has shown the token. */
function welcome(connection: net.Socket, token: string, channel: Channel): void {
  const front: Front = {
    send: (message: FromWorker) => {
      if (!connection.writable) return
      connection.write(`${JSON.stringify(message)}\n`)
      if (connection.writableLength > mostWaiting) connection.destroy()
    },
  }
  const lines = new JsonLines(longestLine.stranger)
  let known = false
  const timer = setTimeout(() => connection.destroy(), patience).unref()
  connection.setEncoding('utf8')
  connection.on('error', () => { /* 'close' follows. */ })
  connection.on('close', () => {
    clearTimeout(timer)
    channel.touch()
    if (known) channel.drop(front)
  })
  connection.on('data', (text: unknown) => {
    channel.touch()
    try {
      for (const message of lines.push(text as string) as Iterable<ToWorker>) {
        if (known && message.kind === 'command' && typeof message.command?.name === 'string') channel.receive(front, message.id, message.command)
        else if (!known && message.kind === 'hello' && isToken(message.token, token)) {
          clearTimeout(timer)
          known = true
          lines.longest = longestLine.front
          channel.join(front)
        } else return connection.destroy()
      }
    } catch {
      connection.destroy() // not the protocol
    }
  })
}

function isToken(given: unknown, token: string): boolean {
  return typeof given === 'string' && given.length === token.length && timingSafeEqual(Buffer.from(given), Buffer.from(token))
}

function writeRecord(output: string, record: ControlRecord): void {
  const file = path.join(output, controlName), temporary = `${file}.${process.pid}.tmp`
  fs.rmSync(temporary, { force: true })
  fs.writeFileSync(temporary, `${JSON.stringify(record)}\n`, { mode: 0o600, flag: 'wx' })
  fs.renameSync(temporary, file)
}

/** Removes this worker's own record and socket: another worker may have begun in the folder. */
function removeRecord(output: string, { token, socket }: ControlRecord): void {
  try {
    if (readControl(output)?.token === token) fs.rmSync(path.join(output, controlName), { force: true })
    if (socket !== null) removeSocket(output, socket)
  } catch { /* What stays is recognised as stale by its process id. */ }
}

/** What a worker left that was killed. */
function removeStale(output: string): void {
  const record = readControl(output)
  if (record === null || record.host !== os.hostname() || isAlive(record.pid)) return
  fs.rmSync(path.join(output, controlName), { force: true })
  if (typeof record.socket === 'string') removeSocket(output, record.socket)
}

/** Only what has the shape of a socket of ours: the path comes from a file. */
function removeSocket(output: string, socket: string): void {
  const folder = path.dirname(socket)
  if (folder === output && /^control-[0-9a-f]+\.sock$/.test(path.basename(socket))) fs.rmSync(socket, { force: true })
  else if (path.dirname(folder) === os.tmpdir() && path.basename(folder).startsWith(temporaryPrefix)) fs.rmSync(folder, { recursive: true, force: true })
}
