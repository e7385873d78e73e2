/** The numbers of a kernel list of CPUs: `0-3,8` is 0 1 2 3 8; `0-6:2/8` strides are not in use there. */
export function parseCpulist(text: string): number[] {
  return text.trim().split(',').filter((part) => part !== '').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })
}

/** CPUs as `taskset -c` takes them: 0 1 2 3 8 is `0-3,8`. */
export function cpulist(cpus: readonly number[]): string {
  const runs: [number, number][] = []
  for (const cpu of [...cpus].sort((a, b) => a - b)) {
    const run = runs.at(-1)
    if (run && cpu === run[1] + 1) run[1] = cpu
    else runs.push([cpu, cpu])
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',')
}
