import * as fs from 'node:fs'

/** Bytes of main memory that one more process may take: free and reclaimable, less under a container's limit. */
export function freeMainMemory(): number {
  const free = Number(/^MemAvailable:\s+(\d+) kB/m.exec(read('/proc/meminfo'))?.[1] ?? NaN) * 1024
  const limit = Number(read('/sys/fs/cgroup/memory.max')), used = Number(read('/sys/fs/cgroup/memory.current'))
  // Cached files count as used there, but give way.
  const cached = Number(/^inactive_file (\d+)/m.exec(read('/sys/fs/cgroup/memory.stat'))?.[1] ?? 0)
  const room = limit > 0 ? limit - used + cached : Infinity
  // A limit on the process's address space (ulimit -v), of which libraries and their gaps take some.
  const address = Number(/^Max address space\s+(\d+)/m.exec(read('/proc/self/limits'))?.[1] ?? NaN), mapped = Number(/^VmSize:\s+(\d+) kB/m.exec(read('/proc/self/status'))?.[1] ?? 0) * 1024
  return Math.min(...[free, room, address - mapped].map((bytes) => (Number.isNaN(bytes) ? Infinity : bytes)))
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch {
    return '' // not Linux, or no such controller: the other figures count
  }
}
