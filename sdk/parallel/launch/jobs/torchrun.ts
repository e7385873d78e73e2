import { defaultPort } from '../master'
import { quoteAll } from '../shell'
import type { Job } from './job'

/** A line for each machine, the same on all: torchrun's agents find each other at `master`, and start the ranks. */
export function torchrunLine(job: Job, master: string | undefined): string {
  const meeting = job.nodes === 1 ? ['--standalone'] : ['--nnodes', String(job.nodes), '--rdzv-backend', 'c10d', '--rdzv-id', job.name, '--rdzv-endpoint', `${master ?? 'HOST'}:${defaultPort}`]
  return `${quoteAll(['torchrun', '--no-python', ...meeting, '--nproc-per-node', String(job.ranksPerNode), ...job.program, 'run', job.file, ...job.more])}\n`
}
