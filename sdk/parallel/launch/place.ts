import { PlanError } from '../../errors'
import { cpulist } from './cpulist'
import type { Core, Machine } from './machine'

/** What a launcher gave each rank of its own already. */
export interface Bound {
  /** The process may run on its own cores alone: they are not divided again. */
  readonly cores: boolean
  /** The process sees its own GPUs alone. */
  readonly gpus: boolean
}

/** Where a rank computes. */
export interface Placement {
  /** `cpu`, or `cuda:` with the number of the GPU among those that the process sees. */
  readonly device: string
  /** Threads of its operators: physical cores, not hyperthreads. */
  readonly threads: number
  /** Logical CPUs that it should run on; null leaves that to the system. */
  readonly cpus: readonly number[] | null
  /** Words to put before the command that starts it, which bind it to those CPUs; empty where nothing is bound. */
  readonly prefix: readonly string[]
  /** Variables for its environment: OMP_NUM_THREADS, and what else OpenMP should know. */
  readonly environment: Readonly<Record<string, string>>
}

/**
 * The share of a machine that one of its ranks gets: cores divided evenly, those of a NUMA node together, and one GPU each
 * where `device` is `cuda`, or `auto` and the machine has some. Throws a `PlanError` (`launch.place`) for fewer GPUs than ranks.
 */
export function placeRank(machine: Machine, localRank: number, localWorldSize: number, device: 'auto' | 'cpu' | 'cuda' = 'auto', bound: Bound = { cores: false, gpus: false }): Placement {
  const ranks = bound.cores ? 1 : localWorldSize, rank = bound.cores ? 0 : localRank
  const usable = Math.min(machine.cores.length, machine.quota ?? Infinity)
  const threads = Math.max(1, Math.floor(usable / ranks))
  // A quota is time on any core: containers beside this one would all be bound to the same first ones.
  const divides = ranks > 1 && usable === machine.cores.length && ranks <= machine.cores.length
  const cpus = divides ? slice(machine.cores, rank, ranks).flatMap((core) => core.cpus) : null
  return {
    device: deviceOf(machine.gpus, localRank, localWorldSize, device, bound.gpus), threads, cpus, prefix: prefixOf(cpus, machine.binder),
    environment: {
      OMP_NUM_THREADS: String(threads),
      // Threads that spin while they wait take the time of other ranks on the same cores.
      ...(ranks > usable && { OMP_WAIT_POLICY: 'passive' }),
      ...(cpus !== null && machine.binder === null && { OMP_PLACES: `{${cpus.join(',')}}`, OMP_PROC_BIND: 'close' }),
    },
  }
}

/** What the launcher has bound, by its variables. */
export function boundByLauncher(env: NodeJS.ProcessEnv): Bound {
  const slurm = env.SLURM_CPU_BIND_TYPE ?? ''
  return {
    cores: env.FETTLE_BOUND === 'cores' || env.OMPI_MCA_orte_bound_at_launch === '1' || /mask_cpu|map_cpu|ldom|rank/.test(slurm),
    gpus: Boolean(env.SLURM_GPUS_PER_TASK || env.SLURM_GPU_BIND) || /gpu/.test(env.SLURM_TRES_PER_TASK ?? ''),
  }
}

function slice(cores: readonly Core[], rank: number, ranks: number): readonly Core[] {
  return cores.slice(Math.floor(rank * cores.length / ranks), Math.floor((rank + 1) * cores.length / ranks))
}

function deviceOf(gpus: number, localRank: number, localWorldSize: number, device: 'auto' | 'cpu' | 'cuda', own: boolean): string {
  if (device === 'cpu' || (device === 'auto' && gpus === 0)) return 'cpu'
  if (own && gpus > 0) return 'cuda:0'
  if (gpus >= localWorldSize) return `cuda:${localRank}`
  throw new PlanError('launch.place', `expected a GPU for each of the ${localWorldSize} ranks of this machine, got ${gpus}; start ${gpus || 'no'} rank${gpus === 1 ? '' : 's'} here, or compute on the CPU (device cpu)`, { gpus, localWorldSize })
}

/** Words before a command that bind it to CPUs; none where nothing is bound. */
export function prefixOf(cpus: readonly number[] | null, binder: Machine['binder']): string[] {
  if (cpus === null || binder === null) return []
  return binder === 'taskset' ? ['taskset', '-c', cpulist(cpus)] : ['numactl', `--physcpubind=${cpulist(cpus)}`]
}
