import { parseCounts, parseHostlist } from '../hostlist'
import { meeting, slurmPort } from '../master'
import type { Claim, RankEnvironment } from '../rank'
import { need, type Variables } from '../variables'

/** Steps that are no parallel program: pending, extern, batch script, interactive shell (slurm.h). */
const special = new Set([4294967293, 4294967292, 4294967291, 4294967290])

/**
 * A task of a Slurm step that srun started. The shell of salloc or sbatch is none, nor is a step of one task, which srun is
 * also used for to open a shell or to start a notebook.
 */
export function readSlurm(env: Variables): Claim | null {
  const step = env.whole('SLURM_STEP_ID', 0, 2 ** 32) ?? env.whole('SLURM_STEPID', 0, 2 ** 32)
  const job = env.text('SLURM_JOB_ID') ?? env.text('SLURM_JOBID')
  // `srun -n 4 --pty bash` opens a shell; steps that are started from it are not its first.
  if (step === undefined || job === undefined || special.has(step) || (step === 0 && env.has('SLURM_PTY_PORT'))) return null
  if (isInherited(env)) return null
  const seen = ['SLURM_STEP_ID']
  const worldSize = need(env.whole('SLURM_STEP_NUM_TASKS', 1) ?? env.whole('SLURM_NTASKS', 1), 'SLURM_STEP_NUM_TASKS', seen, 'start with srun')
  if (worldSize === 1) return null
  const rank = need(env.whole('SLURM_PROCID'), 'SLURM_PROCID', seen, 'start with srun')
  return { source: 'slurm', rank, worldSize, finish: () => finish(env, rank, worldSize, job, step) }
}

function finish(env: Variables, rank: number, worldSize: number, job: string, step: number): RankEnvironment {
  const localRank = need(env.whole('SLURM_LOCALID'), 'SLURM_LOCALID', ['SLURM_STEP_ID', 'SLURM_PROCID'], 'start with srun')
  const localWorldSize = need(tasksHere(env), 'SLURM_GTIDS', ['SLURM_STEP_ID', 'SLURM_PROCID'], 'start with srun')
  const restartCount = env.whole('SLURM_RESTART_COUNT')
  const at = meeting(env, worldSize === localWorldSize, slurmPort(job, step), firstHost(env, ['SLURM_STEP_NODELIST', ...jobHosts]), 'srun', 'export MASTER_ADDR before srun, as the name of the first node')
  return { rank, worldSize, localRank, localWorldSize, source: 'slurm', ...at, ...(restartCount !== undefined && { restartCount }), runId: `${job}.${step}` }
}

/** Tasks of the step on this node. */
function tasksHere(env: Variables): number | undefined {
  const tasks = env.text('SLURM_GTIDS')
  return tasks === undefined ? countHere(env) : tasks.split(',').length
}

function countHere(env: Variables): number | undefined {
  const name = env.has('SLURM_STEP_TASKS_PER_NODE') ? 'SLURM_STEP_TASKS_PER_NODE' : 'SLURM_TASKS_PER_NODE'
  const text = env.text(name)
  return text === undefined ? undefined : parseCounts(text, name)[env.whole('SLURM_NODEID') ?? 0]
}

/**
 * sbatch from inside a step hands the step's variables on to the new batch script, which is no task of it. Seen by what Slurm sets
 * anew: the tasks of this node are not those of the step, or the step's nodes are not of this job.
 */
function isInherited(env: Variables): boolean {
  const tasks = env.text('SLURM_GTIDS')?.split(','), count = countHere(env)
  if (tasks !== undefined && count !== undefined && tasks.length !== count) return true
  const step = env.text('SLURM_STEP_NODELIST'), job = env.text('SLURM_JOB_NODELIST')
  if (step === undefined || job === undefined || step === job) return false
  const hosts = new Set(parseHostlist(job))
  return parseHostlist(step, 'SLURM_STEP_NODELIST').some((host) => !hosts.has(host))
}

const jobHosts = ['SLURM_JOB_NODELIST', 'SLURM_NODELIST']

function firstHost(env: Variables, names: readonly string[]): string | undefined {
  const name = names.find((each) => env.has(each))
  return name === undefined ? undefined : parseHostlist(env.text(name)!, name)[0]
}

/** Where the first rank of a program is that another launcher spread over a Slurm job; undefined outside of one. */
export function firstHostOfJob(env: Variables): string | undefined { return firstHost(env, jobHosts) }
