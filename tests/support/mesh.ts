import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { worldSize } from 'fettle/dist/parallel/mesh/mesh'
import { parseMesh } from 'fettle/dist/parallel/mesh/parse'
import { runRanks } from 'fettle/dist/parallel/processes'
import { meshShape } from 'fettle/dist/parallel/mesh/shape'
import type { RankJob } from './rank'

/** Ranks of a mesh by its name; an empty one is one rank. */
export function ranksOf(mesh: string): number { return mesh === '' ? 1 : worldSize(meshShape(parseMesh(mesh))) }

/**
 * Runs a module's `visit` on meshes of equal size, one after the other, in one set of rank processes: starting them takes longer than
 * what a tiny model needs.
 * @param module name of a module in tests/support
 */
export async function visitMeshes<T>(module: string, meshes: readonly string[], argument: T): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-meshes-'))
  try {
    const visits = meshes.map((mesh, i) => ({ mesh, store: path.join(folder, `store-${i}`) }))
    const jobs = Array.from({ length: ranksOf(meshes[0]) }, (_, rank): RankJob => ({ module: path.join(__dirname, module), rank, visits, argument }))
    await runRanks(path.join(__dirname, 'rank.js'), jobs)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
