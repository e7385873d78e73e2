import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { familyOf } from '../models/families'
import { openWeights, writeSafetensors } from '../models/weights'
import { JoinedParts } from '../models/weights/parts'
import type { MeshPlan } from '../plan/plan'
import { refuseMesh } from './mesh/fit'
import { worldSize } from './mesh/mesh'
import { runRanks } from './processes'
import { meshShape } from './mesh/shape'
import type { TraceJob } from './trace-rank'

/**
 * As `trace`, on as many rank processes as the mesh has: writes what one rank writes, gathered.
 * @returns names and shapes of what was written
 * @throws PlanError `mesh.*`, and what a rank threw first
 */
export async function traceOnMesh(mesh: MeshPlan, job: Omit<TraceJob, 'mesh' | 'rank' | 'ranks' | 'store' | 'folder'>, out: string): Promise<{ readonly name: string; readonly shape: readonly number[] }[]> {
  const weights = openWeights(job.options.model)
  try { refuseMesh(mesh, familyOf(weights.config).architecture(weights.config), null) } finally { weights.close() }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-trace-')), count = worldSize(meshShape(mesh))
  try {
    const jobs = Array.from({ length: count }, (_, rank): TraceJob => ({ ...job, mesh, rank, ranks: count, store: path.join(folder, 'store'), folder }))
    await runRanks(path.join(__dirname, 'trace-rank.js'), jobs)
    const joined = new JoinedParts(folder, 'trace', count)
    try {
      writeSafetensors(out, new Map(joined.names().map((name) => [name, joined.lazy(name)])))
      return joined.names().map((name) => ({ name, shape: joined.shape(name)! }))
    } finally {
      joined.close()
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
