import { readFileSync } from 'node:fs'

/** Highest resident memory of a process so far, MiB. getrusage would tell that of the process that started it, where it was larger. */
export const peakOf = (pid) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024
