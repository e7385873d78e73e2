// What stands beside every figure: the machine, and whether something else ran on it.
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'

const interesting = ['avx2', 'fma', 'avx512f', 'avx512_bf16', 'avx512_fp16', 'amx_tile', 'amx_bf16']

/** Name, cores, memory and the CPU features that decide which kernels run. */
export function machine() {
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].split(' ') ?? []
  return { cpu: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), memoryGiB: Math.round(totalmem() / 2 ** 30), features: interesting.filter((f) => flags.includes(f)) }
}

/** True when the CPU multiplies bf16 itself. */
export function multipliesBf16({ features }) { return features.includes('avx512_bf16') || features.includes('amx_bf16') }

/** Jiffies of all cores since the machine started, and those of them in which nothing ran. */
export function busy() {
  const [, ...t] = /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))[1].split(' ').map(Number).reduce((all, x) => [...all, x], [0])
  return { idle: t[3] + t[4], all: t.slice(0, 8).reduce((a, b) => a + b, 0) }
}

/** Share of the cores that other work takes, over two seconds before the bench starts. */
export async function otherLoad() {
  const before = busy()
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const after = busy()
  return { share: 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all), loadAverage: loadavg()[0] }
}
