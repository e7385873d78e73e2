// Entry of a rank process of a test: visits meshes one after the other and does on each what the test's module says.
import { dieWithParent, noGrad, scope, setThreads, Store } from 'fettle-native'
import { serializeError } from 'fettle/dist/errors'
import { worldSize } from 'fettle/dist/parallel/mesh/mesh'
import { parseMesh } from 'fettle/dist/parallel/mesh/parse'
import type { FromRank } from 'fettle/dist/parallel/processes'
import { Ranks } from 'fettle/dist/parallel/ranks'
import { meshShape } from 'fettle/dist/parallel/mesh/shape'
import type { MeshPlan } from 'fettle/dist/plan/plan'

/** A mesh as `parseMesh` reads it, empty for one rank, and the file that its ranks meet at. */
export interface Visit { readonly mesh: string; readonly store: string }

/** What a rank process is told. */
export interface RankJob {
  /** Compiled module whose `visit` runs on each mesh. */
  readonly module: string
  readonly rank: number
  readonly visits: readonly Visit[]
  readonly argument: unknown
}

/** Where a module's `visit` stands. */
export interface Here { readonly name: string; readonly mesh: MeshPlan; readonly ranks: Ranks }

/** What the module of a test exports: it runs on each rank of each mesh. */
export type VisitOf<T> = (here: Here, argument: T) => void

// A rank that waits in a collective does not see that the test has ended.
if (!dieWithParent(process.ppid)) process.exit(1)

process.once('message', (job: RankJob) => {
  const say = (message: FromRank): void => { process.send!(message, undefined, undefined, () => process.exit(message.kind === 'done' ? 0 : 1)) }
  try {
    setThreads(1)
    const { visit } = require(job.module) as { visit: VisitOf<unknown> }
    for (const { mesh, store } of job.visits) visitMesh(mesh, store, job.rank, (here) => visit(here, job.argument))
    say({ kind: 'done' })
  } catch (error) {
    say({ kind: 'failed', error: serializeError(error) })
  }
})

function visitMesh(name: string, store: string, rank: number, run: (here: Here) => void): void {
  const mesh = planOf(name), shape = meshShape(mesh), count = worldSize(shape)
  const ranks = count === 1 ? Ranks.alone() : Ranks.join(shape, { store: Store.file(store, count, 120_000), rank, timeout: 120_000, address: '127.0.0.1' })
  noGrad(() => scope(() => run({ name, mesh, ranks })))
  ranks.close()
}

/** The mesh of a name; an empty one is one rank. */
export function planOf(name: string): MeshPlan { return parseMesh(name === '' ? 'dp=1' : name) }
