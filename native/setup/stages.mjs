// How the set-up shows and runs its stages: one line each, with the time it took; nothing printed twice.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

/** A condition that the user must put right; printed as it is, without a stack. */
export class SetupError extends Error {}

export const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`

/** Prints stages: a live line on a terminal, plain lines when piped; `quiet` leaves out what was already there. */
export class Progress {
  constructor(quiet) {
    this.quiet = quiet
    this.live = process.stdout.isTTY
  }

  /** Runs one stage. `work(note)` returns what to say at its end, or undefined when there was nothing to do. */
  async stage(name, work) {
    const start = Date.now()
    let detail = ''
    let shown = 0
    const show = () => this.live && process.stdout.write(`\r\x1b[K  … ${name}  ${seconds(start)}  ${detail}`.slice(0, (process.stdout.columns ?? 80) + 3))
    const note = (text) => {
      detail = text.trim().slice(0, 100)
      if (this.live) show()
      else if (Date.now() - shown > 5000) {
        shown = Date.now()
        console.log(`  … ${name}  ${seconds(start)}  ${detail}`)
      }
    }
    const ticker = this.live ? setInterval(show, 500) : setInterval(() => console.log(`  … ${name}  ${seconds(start)}  ${detail}`), 20000)
    try {
      const said = await work(note)
      if (this.live) process.stdout.write('\r\x1b[K')
      if (said !== undefined) console.log(`  ✓ ${name}  ${said}  (${seconds(start)})`)
      else if (!this.quiet) console.log(`  ✓ ${name}  already there`)
    } catch (error) {
      if (this.live) process.stdout.write('\r\x1b[K')
      console.log(`  ✗ ${name}  (${seconds(start)})`)
      throw error
    } finally {
      clearInterval(ticker)
    }
  }
}

/** Runs a command; its last output line goes to `note`, the end of its output into the error. */
export function command(program, args, { note = () => {}, cwd, env, remedy } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const take = (data) => {
      output += data
      const line = String(data).trim().split('\n').at(-1)
      if (line) note(line)
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', (error) => reject(new SetupError(`${program} does not start: ${error.message}${remedy ? `\n${remedy}` : ''}`)))
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(output)
      const tail = output.trim().split('\n').slice(-30).join('\n')
      reject(new SetupError(`${tail}\n\n${program} ${args.slice(0, 4).join(' ')} … ended with ${signal ?? `code ${code}`}${remedy ? `\n${remedy}` : ''}`))
    })
  })
}

function alive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Holder of the lock file; undefined when it is stale, null when there is none. An empty file is just being written. */
function holder(file) {
  try {
    const text = fs.readFileSync(file, 'utf8').trim()
    if (text === '') return Date.now() - fs.statSync(file).mtimeMs < 5000 ? 'another process' : undefined
    return alive(Number(text)) ? text : undefined
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    return null
  }
}

function create(file) {
  try {
    fs.writeFileSync(file, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    return false
  }
}

/** Removes a stale lock. One process at a time looks again and removes, or it could remove the lock of the next holder. */
function removeStale(file) {
  const guard = `${file}.takeover`
  if (!create(guard)) {
    if (Date.now() - (fs.statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) > 10000) fs.rmSync(guard, { force: true })
    return
  }
  if (holder(file) === undefined) fs.rmSync(file, { force: true })
  fs.rmSync(guard, { force: true })
}

/** Runs `work` while holding a lock file, so that two set-ups beside each other do the work once. */
export async function locked(file, work) {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  let told = false
  while (!create(file)) {
    const pid = holder(file)
    if (pid === undefined) removeStale(file)
    else if (pid && !told) console.log(`  another set-up (process ${pid}) is at work; waiting for it`)
    told ||= Boolean(pid)
    await new Promise((resolve) => setTimeout(resolve, pid ? 300 : 20))
  }
  const release = () => fs.rmSync(file, { force: true })
  const interrupted = () => {
    release()
    process.exit(130)
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    return await work()
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
    release()
  }
}
