// One case of the parallel bench: its rank processes from start to end, and what they measured.
import { createRequire } from 'node:module'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url), here = dirname(fileURLToPath(import.meta.url))
const { defaultMesh, defaultPlan } = require('fettle/dist/plan/defaults'), { worldSize } = require('fettle/dist/parallel/mesh/mesh')
const { meshShape } = require('fettle/dist/parallel/mesh/shape'), { runRanks } = require('fettle/dist/parallel/processes')

export const meshOf = (degrees) => ({ ...defaultMesh, ...degrees })

async function inFolder(run) {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-bench-'))
  try { return await run(folder) } finally { rmSync(folder, { recursive: true, force: true }) }
}

/**
 * Trains a few steps on a mesh, one thread a rank. Gives the report of each rank, in order.
 * @param apart two ranks beside each other of which each trains alone: the same work without a message
 */
export async function runCase(model, { mesh = {}, rows = 2, rowTokens = 128, micros = 1, steps = 4, warmup = 2, overlap = true, apart = false }) {
  const plan = { ...defaultPlan(model), mesh: meshOf(mesh), batch: { size: rows, evalSize: rows, accumulate: micros }, steps: steps + warmup, threads: 1, device: 'cpu', precision: 'fp32' }
  const count = apart ? 2 : worldSize(meshShape(plan.mesh))
  return inFolder(async (folder) => {
    const jobs = Array.from({ length: count }, (_, rank) => ({ plan, model, rank, count, store: join(folder, 'store'), folder, rowTokens, steps, warmup, overlap, apart }))
    await runRanks(join(here, 'rank.mjs'), jobs)
    return jobs.map(({ rank }) => JSON.parse(readFileSync(join(folder, `rank-${rank}.json`), 'utf8')))
  })
}

/** α and β of Gloo over loopback, s and s/byte, and bytes/s of memory. */
export function measureLink() {
  return inFolder(async (folder) => {
    await runRanks(join(here, 'link.mjs'), [0, 1].map((rank) => ({ rank, count: 2, store: join(folder, 'store'), folder })))
    return JSON.parse(readFileSync(join(folder, 'link.json'), 'utf8'))
  })
}
