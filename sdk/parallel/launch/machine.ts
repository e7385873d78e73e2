import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { parseCpulist } from './cpulist'

/** What of a machine this process may use, as far as placing ranks needs it. */
export interface Machine {
  /** Physical cores, those of a NUMA node together; each by the logical CPUs of it that may be used. */
  readonly cores: readonly Core[]
  /** CPUs' worth of time that a container may take; null where nothing limits it. */
  readonly quota: number | null
  /** GPUs that can be seen. */
  readonly gpus: number
  /** A program that starts another on some CPUs alone; null where there is none. */
  readonly binder: 'taskset' | 'numactl' | null
}

/** One physical core. */
export interface Core {
  /** Logical CPUs: two or more with SMT. */
  readonly cpus: readonly number[]
  /** NUMA node, from 0. */
  readonly node: number
}

/** Text of a file, or null where it cannot be read. */
export type ReadText = (file: string) => string | null

const readText: ReadText = (file) => {
  try { return fs.readFileSync(file, 'utf8') } catch { return null }
}

/** This machine. */
export function readMachine(env: NodeJS.ProcessEnv = process.env): Machine {
  const found = process.platform === 'linux' ? readCores(readText, env.FETTLE_CPUS) : null
  const cores = found ?? Array.from({ length: os.availableParallelism() }, (_, cpu) => ({ cpus: [cpu], node: 0 }))
  return { cores, quota: readQuota(readText), gpus: countGpus(env), binder: found === null ? null : findBinder(env) }
}

/**
 * Cores of Linux: those that the scheduler lets this process run on, by /proc and /sys. Null where /proc does not say.
 * @param divided CPUs that ranks share, where this process is one of them and may run on its own share alone (`FETTLE_CPUS`)
 */
export function readCores(read: ReadText, divided?: string): Core[] | null {
  const allowed = divided ?? /^Cpus_allowed_list:\s*(\S+)$/m.exec(read('/proc/self/status') ?? '')?.[1]
  if (allowed === undefined) return null
  const nodes = parseCpulist(read('/sys/devices/system/node/online') ?? '0')
  const nodeOf = new Map(nodes.flatMap((node, index) => parseCpulist(read(`/sys/devices/system/node/node${node}/cpulist`) ?? '').map((cpu) => [cpu, index] as const)))
  const cores = new Map<string, { cpus: number[]; node: number }>()
  for (const cpu of parseCpulist(allowed)) {
    const topology = `/sys/devices/system/cpu/cpu${cpu}/topology`
    const siblings = (read(`${topology}/core_cpus_list`) ?? read(`${topology}/thread_siblings_list`) ?? String(cpu)).trim()
    const core = cores.get(siblings)
    if (core) core.cpus.push(cpu)
    else cores.set(siblings, { cpus: [cpu], node: nodeOf.get(cpu) ?? 0 })
  }
  return [...cores.values()].sort((a, b) => a.node - b.node || a.cpus[0] - b.cpus[0])
}

/** The tightest CPU limit of the control groups that this process is in: cgroup v2's cpu.max, or v1's quota and period. */
export function readQuota(read: ReadText): number | null {
  const own = read('/proc/self/cgroup') ?? ''
  const v2 = /^0::(\S+)$/m.exec(own)?.[1] ?? '/', v1 = /^\d+:[^:]*\bcpu\b[^:]*:(\S+)$/m.exec(own)?.[1] ?? '/'
  const limits = [
    ...ancestors('/sys/fs/cgroup', v2).map((folder) => share(...(read(`${folder}/cpu.max`) ?? 'max').trim().split(/\s+/))),
    ...ancestors('/sys/fs/cgroup/cpu', v1).map((folder) => share(read(`${folder}/cpu.cfs_quota_us`)?.trim(), read(`${folder}/cpu.cfs_period_us`)?.trim())),
  ].filter((limit) => limit !== null)
  return limits.length === 0 ? null : Math.min(...limits)
}

/** `200000 100000` is 2 CPUs; `max` and −1 are none. */
function share(quota?: string, period = '100000'): number | null {
  return quota === undefined || quota === 'max' || Number(quota) < 0 ? null : Number(quota) / Number(period)
}

/** A group and all above it. */
function ancestors(root: string, group: string): string[] {
  const parts = group.split('/').filter((part) => part !== '' && part !== '..')
  return Array.from({ length: parts.length + 1 }, (_, i) => path.posix.join(root, ...parts.slice(0, i)))
}

/** GPUs by their device files, and by CUDA_VISIBLE_DEVICES where it chooses some of them; nothing is loaded for it. */
function countGpus(env: NodeJS.ProcessEnv): number {
  let files: string[]
  try { files = fs.readdirSync('/dev') } catch { return 0 }
  const there = files.filter((name) => /^nvidia\d+$/.test(name)).length
  const chosen = env.CUDA_VISIBLE_DEVICES
  return chosen === undefined || there === 0 ? there : chosen.split(',').filter((id) => id.trim() !== '' && id.trim() !== '-1').length
}

function findBinder(env: NodeJS.ProcessEnv): Machine['binder'] {
  const folders = (env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '')
  // numactl also asks for a memory policy, which many containers refuse; memory is local without it.
  return (['taskset', 'numactl'] as const).find((name) => folders.some((folder) => fs.existsSync(path.join(folder, name)))) ?? null
}
