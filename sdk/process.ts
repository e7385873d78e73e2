import * as fs from 'node:fs'

/** True while a process of this host has that id and has not ended, fetched by its parent or not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !isZombie(pid)
  } catch (error) { return (error as NodeJS.ErrnoException).code === 'EPERM' }
}

/** Waits for work, but no longer than `ms`. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([work, new Promise((resolve) => { timer = setTimeout(resolve, ms) })])
  clearTimeout(timer)
}

/** It has ended, but whoever should fetch its exit code has not: the first process of many containers never does. */
function isZombie(pid: number): boolean {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text[text.lastIndexOf(')') + 2] === 'Z'
  } catch { return false }
}
