import * as os from 'node:os'
import type { PreparedSplit, RowReader } from '../data/dataset'
import { meshShape } from '../parallel/mesh/shape'
import { worldSize } from '../parallel/mesh/mesh'
import type { Plan } from '../plan/plan'
import type { Recompute } from '../train/walk'
import { calibrate } from './calibrate'
import { Curves } from './curves'
import type { Subject } from './measured'

/** What plans are measured with on this machine. */
export interface Bench {
  readonly modelPath: string
  readonly config: unknown
  readonly subject: Subject
  readonly split: PreparedSplit
  readonly reader: RowReader
  /** s that a measurement may take, about. */
  readonly seconds: number
  readonly onProgress?: (share: number) => void
}

/** Threads of each rank on this machine. */
export function threadsOf({ threads, mesh, deterministic }: Plan): number {
  return threads ?? (deterministic ? 1 : Math.max(1, Math.floor(os.availableParallelism() / worldSize(meshShape(mesh)))))
}

/** Measures what steps of a plan take, over batches from a few tokens to those of `rows`. */
export async function curvesOf(plan: Plan, bench: Bench, rows: readonly number[], recompute: readonly Recompute[]): Promise<Curves> {
  const { subject: { architecture }, reader } = bench, length = (row: number): number => reader.length(row)
  const ordered = [...rows].sort((a, b) => length(b) - length(a)), tokens = ordered.reduce((sum, row) => sum + length(row), 0)
  // Rows of the middle first, so that the smaller batch is like the larger one.
  const middle = [...ordered].sort((a, b) => Math.abs(length(a) - tokens / rows.length) - Math.abs(length(b) - tokens / rows.length))
  const least = Math.min(Math.max(128, tokens / 4), 512), small: number[] = []
  for (let sum = 0; sum < least && small.length < middle.length; sum += length(small[small.length - 1])) small.push(middle[small.length])
  const others = rows.length > 1 ? small : shorter(reader, tokens)
  const job = { plan, modelPath: bench.modelPath, split: bench.split, small: others, large: ordered, recompute: [...recompute], tp: plan.mesh.tp, threads: threadsOf(plan), together: worldSize(meshShape(plan.mesh)), seconds: bench.seconds }
  const calibration = await calibrate(job, bench.config, bench.onProgress)
  return new Curves({ ...architecture, heads: architecture.heads / plan.mesh.tp }, calibration)
}

/** A row of about a quarter of the tokens, to tell what grows with them. */
function shorter(reader: RowReader, tokens: number): number[] {
  let best = 0
  for (let row = 1; row < Math.min(reader.rows, 10_000); row++) if (Math.abs(reader.length(row) - tokens / 4) < Math.abs(reader.length(best) - tokens / 4)) best = row
  return [best]
}
