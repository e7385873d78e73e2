import { isLoopback, loopback } from './rank'
import { environmentError, type Variables } from './variables'

/** PyTorch's own port for meetings. */
export const defaultPort = 29500

/** Ports that are computed: below those that systems give to clients, above those of most services. */
const firstPort = 15000, ports = 10000

/** Slurm: 15000 + the last four digits of the job, as PyTorch Lightning has it; steps after the first have ports of their own. */
export function slurmPort(job: string, step = 0): number {
  const digits = Number(/^\d+/.exec(job)?.[0].slice(-4) ?? 0)
  return firstPort + (digits + 7919 * step) % ports
}

/** A port from any text that all ranks of a job see alike (FNV-1a). */
export function portOf(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return firstPort + hash % ports
}

/** A port from the id of the batch job, which all its ranks see; null outside of one. */
export function jobPort(env: Variables): number | null {
  for (const name of ['SLURM_JOB_ID', 'PBS_JOBID', 'LSB_JOBID']) {
    const id = env.text(name)
    if (id !== undefined) return slurmPort(id)
  }
  return null
}

/**
 * Where ranks meet that a launcher started without saying so: MASTER_ADDR and MASTER_PORT where they are set; else loopback
 * for ranks of one machine, and `host` or a complaint for more.
 */
export function meeting(env: Variables, alone: boolean, port: number, host: string | undefined, launcher: string, remedy: string): { masterAddress: string; masterPort: number } {
  const masterAddress = env.master() ?? (alone ? loopback : host)
  if (masterAddress === undefined) {
    throw environmentError(`${launcher} started ranks on several machines and does not say where rank 0 is: MASTER_ADDR is not set`, ['MASTER_ADDR'], remedy)
  }
  if (!alone && isLoopback(masterAddress)) {
    throw environmentError(`the master address is ${masterAddress}, which is another machine on each of the several that ${launcher} started ranks on`, ['MASTER_ADDR'], remedy)
  }
  return { masterAddress, masterPort: env.masterPort() ?? port }
}
