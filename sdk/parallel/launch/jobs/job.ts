import * as fs from 'node:fs'
import * as path from 'node:path'
import { PlanError } from '../../../errors'
import { refusal } from '../../../plan/refuse'

/** A run as a cluster should start it. */
export interface Job {
  /** Name on the cluster: lower-case letters, digits and dashes. */
  readonly name: string
  /** The argument file, as the command line names it. */
  readonly file: string
  /** More words of `fettle run`, behind the file. */
  readonly more: readonly string[]
  /** Where the run writes, by the argument file. */
  readonly output: string
  /** Machines. */
  readonly nodes: number
  /** Ranks on each. */
  readonly ranksPerNode: number
  /** Each rank has a GPU of its own. */
  readonly gpus: boolean
  /** Cores of a rank; null leaves that to the cluster. */
  readonly cpusPerRank: number | null
  /** Words that start Fettle there. */
  readonly program: readonly string[]
}

/** What of a job the command line says. */
export interface JobWishes {
  readonly name?: string
  readonly more: readonly string[]
  readonly nodes: number
  readonly ranksPerNode: number
  readonly gpus: boolean
  readonly cpusPerRank: number | null
  readonly program: readonly string[]
}

const degrees = ['tensor_parallel_degree', 'pipeline_parallel_degree', 'sharding_parallel_degree'] as const

/**
 * A job from an argument file. Throws a `PlanError` for a file that cannot be read, and for numbers of ranks that its parallel
 * degrees do not divide: found out here rather than after hours in a queue.
 */
export function readJob(file: string, wishes: JobWishes): Job {
  const plan = readFile(file)
  const world = wishes.nodes * wishes.ranksPerNode
  const set = degrees.filter((name) => Number(plan[name] ?? -1) > 1)
  const product = set.reduce((sum, name) => sum * Number(plan[name]), 1)
  if (world % product !== 0) {
    throw new PlanError('launch.job', `${set.map((name) => `${name} ${String(plan[name])}`).join(' × ')} does not divide the ${world} ranks of ${wishes.nodes} × ${wishes.ranksPerNode}; try --nodes ${Math.ceil(product / wishes.ranksPerNode)}, or another --ranks-per-node`, { world, product })
  }
  const output = outputIn(wishes.more) ?? plan.output_dir
  if (typeof output !== 'string' || output === '') throw refusal('output_dir', 'a folder to write to', output, `"output_dir": "output/first" in ${file}`)
  const name = wishes.name ?? nameOf(file)
  if (!/^[a-z]([a-z0-9-]{0,45}[a-z0-9])?$/.test(name)) throw refusal('--name', 'lower-case letters, digits and dashes, at most 47', name, `--name ${nameOf(file)}`)
  return { ...wishes, name, file, output }
}

function readFile(file: string): Record<string, unknown> {
  try {
    const plan: unknown = JSON.parse(fs.readFileSync(file, 'utf8'))
    if (typeof plan === 'object' && plan !== null && !Array.isArray(plan)) return plan as Record<string, unknown>
  } catch (cause) {
    throw new PlanError('launch.job', `${file} cannot be read as an argument file: ${(cause as Error).message}; name a JSON file that fettle run takes`, { file }, { cause })
  }
  throw new PlanError('launch.job', `expected one JSON object in ${file}; name a file that fettle run takes`, { file })
}

/** `--output_dir`, which wins over the file. */
function outputIn(words: readonly string[]): string | undefined {
  const at = words.findIndex((word) => /^--output[_-]dir(=|$)/.test(word))
  return at < 0 ? undefined : words[at].includes('=') ? words[at].slice(words[at].indexOf('=') + 1) : words[at + 1]
}

function nameOf(file: string): string {
  const plain = path.basename(file).replace(/\.json$/i, '').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^[^a-z]+|-+$/g, '')
  return plain.slice(0, 40).replace(/-+$/, '') || 'fettle'
}
