import * as fs from 'node:fs'

/**
 * Watches for a worker that neither says anything nor computes. A long step computes, so that only one that is stopped or
 * waits for ever is found. Where the system tells no process's CPU time (no /proc), nothing is found.
 */
export class HangWatch {
  readonly #pid: number
  readonly #limit: number
  readonly #onHung: () => void
  readonly #many: boolean
  #timer: NodeJS.Timeout | null = null
  #silent = 0
  #cpu: number | null = null

  /**
   * @param limit ms without a sign of life
   * @param many its children count too: ranks that it waits for
   */
  constructor(pid: number, limit: number, onHung: () => void, many = false) {
    this.#many = many
    this.#pid = pid
    this.#limit = limit
    this.#onHung = onHung
  }

  /** A message came. */
  heard(): void { this.#silent = 0 }

  /** Watches from now on, or no longer. */
  watch(on: boolean): void {
    if (on === (this.#timer !== null)) return
    this.#silent = 0
    this.#cpu = null
    if (this.#timer) clearInterval(this.#timer)
    const interval = Math.min(5000, Math.max(20, this.#limit / 4))
    let last = performance.now()
    this.#timer = !on ? null : setInterval(() => {
      const now = performance.now()
      // When this process itself slept or was busy, the worker's messages wait too: no more than two intervals count.
      this.#look(Math.min(now - last, 2 * interval))
      last = now
    }, interval).unref()
  }

  #look(passed: number): void {
    const cpu = cpuTime(this.#pid, this.#many)
    const worked = cpu === null || cpu !== this.#cpu
    this.#cpu = cpu
    this.#silent = worked ? 0 : this.#silent + passed
    if (this.#silent < this.#limit) return
    this.watch(false)
    this.#onHung()
  }
}

/**
 * CPU time of a process and all its threads, in clock ticks; `null` where it cannot be known, or while it waits for a disk.
 * @param many with that of its children, which it waits for where they are ranks; a process that is stopped does not
 */
function cpuTime(pid: number, many: boolean): number | null {
  const own = readStat(`/proc/${pid}/stat`)
  if (own === null || (many && own.state === 'D')) return null
  if (!many || own.state === 'T') return own.ticks
  // Of a rank only its first thread: others tick while it waits.
  return childrenOf(pid).reduce((sum, child) => sum + (readStat(`/proc/${child}/task/${child}/stat`)?.ticks ?? 0), own.ticks)
}

function readStat(file: string): { readonly state: string; readonly ticks: number } | null {
  try {
    // The name, in brackets, may hold anything.
    const text = fs.readFileSync(file, 'utf8'), fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0], ticks: Number(fields[11]) + Number(fields[12]) }
  } catch { return null }
}

function childrenOf(pid: number): number[] {
  try {
    return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((text) => text !== '').map(Number)
  } catch { return [] }
}
