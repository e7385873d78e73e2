import { quote, quoteAll } from '../shell'
import type { Job } from './job'

/** What a Slurm job has of its own. */
export interface SlurmOptions {
  /** Seconds before the time limit at which the run saves and the job goes back into the queue. */
  readonly saveSeconds: number
  /** Longest time, as sbatch takes it: `4:00:00`. */
  readonly time?: string
  readonly partition?: string
  readonly account?: string
}

/**
 * A script for sbatch. Before the time limit Slurm signals the script, which asks the ranks to end; they save a checkpoint, and
 * the job is queued again and goes on from it.
 */
export function slurmScript(job: Job, { saveSeconds, time, partition, account }: SlurmOptions): string {
  const options = [
    `job-name=${job.name}`, `nodes=${job.nodes}`, `ntasks-per-node=${job.ranksPerNode}`,
    ...(job.cpusPerRank === null ? [] : [`cpus-per-task=${job.cpusPerRank}`]), ...(job.gpus ? [`gpus-per-node=${job.ranksPerNode}`] : []),
    ...(time === undefined ? [] : [`time=${time}`]), ...(partition === undefined ? [] : [`partition=${partition}`]), ...(account === undefined ? [] : [`account=${account}`]),
    'output=%x-%j.out', 'open-mode=append', `signal=B:USR1@${saveSeconds}`, 'requeue',
  ]
  return `#!/bin/bash
${options.map((option) => `#SBATCH --${option}`).join('\n')}
set -u

# Queued again: go on from the newest checkpoint, or from the start where there is none yet.
output=${quote(job.output)}
more=()
if [ "\${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then
  if compgen -G "$output/checkpoint-*" > /dev/null; then more=(--resume_from_checkpoint true); else more=(--overwrite_output_dir true); fi
fi

# ${saveSeconds} s before the time limit: the ranks save and end with 143, and the job goes back into the queue.
asked=
save() {
  asked=1
  scancel --signal=TERM "$SLURM_JOB_ID.0"
}
trap save USR1

# srun tells each rank its place; it asks for no cores per task by itself.
srun${job.cpusPerRank === null ? '' : ` --cpus-per-task=${job.cpusPerRank}`} --kill-on-bad-exit=1 ${quoteAll([...job.program, 'run', job.file, ...job.more])} "\${more[@]}" &
step=$!
while wait "$step"; code=$?; kill -0 "$step" 2> /dev/null; do :; done

if [ -n "$asked" ] && [ "$code" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
`
}
