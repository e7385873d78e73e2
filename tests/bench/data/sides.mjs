// One run of one side of the data bench: a whole process with its children, its time and their memory.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** Process ids of a process and all that it started. */
function tree(root) {
  const parents = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try { return [[Number(name), Number(readFileSync(`/proc/${name}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[1])]] } catch { return [] }
  })
  const found = new Set([root])
  for (let size = 0; size !== found.size;) {
    size = found.size
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid)
  }
  return found
}

/** MiB of the processes' own pages, those that they share counted once; pages of files are the system's. */
function memory(root) {
  let kilobytes = 0
  for (const pid of tree(root)) {
    try { kilobytes += Number(/^Pss_Anon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) } catch { /* ended meanwhile */ }
  }
  return kilobytes / 1024
}

/** Seconds of CPU that a process and all that it started have taken, ended ones included. */
function cpu(root) {
  let ticks = 0
  for (const pid of tree(root)) {
    try { ticks += readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ').slice(11, 15).reduce((sum, field) => sum + Number(field), 0) } catch { /* ended meanwhile */ }
  }
  return ticks / 100
}

/** Runs it; resolves to what it said, with seconds from its start to its answer, seconds of CPU until then and the peak of memory (MiB). */
export function runSide(command, args, { digest, env = {} }) {
  const started = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env, ...(digest ? { DIGEST: '1' } : {}) }, stdio: ['ignore', 'pipe', 'pipe'] })
    let answer = {}, peak = 0, taken = 0, errors = ''
    const look = () => { if (answer.seconds === undefined) [peak, taken] = [Math.max(peak, memory(child.pid)), Math.max(taken, cpu(child.pid))] }
    const watch = setInterval(look, 250)
    child.stderr.on('data', (data) => { errors = (errors + data).slice(-4000) })
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return
      look()
      if (answer.seconds === undefined) answer.seconds = (performance.now() - started) / 1000
      Object.assign(answer, JSON.parse(line))
    })
    child.on('error', reject)
    child.on('close', (code) => {
      clearInterval(watch)
      if (code === 0) resolve({ ...answer, peak, cpu: taken })
      else reject(new Error(`${command} ${args[0]} ended with exit code ${code}\n${errors}`))
    })
  })
}
