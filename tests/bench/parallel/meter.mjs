// What a rank measures of itself: time in which it waits for its peers, by group; bytes on loopback; resident memory.
import { readFileSync, writeFileSync } from 'node:fs'

/** Times every call into a process group, and every wait for what was begun. */
export class Meter {
  blocked = 0
  constructor({ prototype }) {
    const meter = this
    for (const name of ['allReduce', 'allGather', 'allToAll', 'broadcast', 'send', 'receive']) {
      const call = prototype[name]
      prototype[name] = function (...args) {
        const work = meter.time(() => call.apply(this, args))
        return { wait: () => meter.time(() => work.wait()) }
      }
    }
  }

  time(run) {
    const start = performance.now()
    try { return run() } finally { this.blocked += (performance.now() - start) / 1000 }
  }
}

/** Bytes that loopback has carried, with the heads of TCP and IP, in this network namespace. */
export function loopbackBytes() { return Number(/^\s*lo:\s*(\d+)/m.exec(readFileSync('/proc/net/dev', 'utf8'))[1]) }

const status = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
export const resident = () => status('VmRSS')
export const peak = () => status('VmHWM')
/** The peak is counted from here. */
export const forgetPeak = () => writeFileSync('/proc/self/clear_refs', '5')
