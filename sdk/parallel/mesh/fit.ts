import { PlanError } from '../../errors'
import type { Architecture } from '../../models/architecture'
import type { MeshPlan } from '../../plan/plan'
import { worldSize } from './mesh'
import { meshCalls, meshFlags, meshShape } from './shape'

/** Why a mesh is impossible. */
interface Misfit { readonly code: string; readonly message: string; readonly details: Readonly<Record<string, unknown>> }

/** What of a model limits its meshes. */
type Cuttable = Pick<Architecture, 'heads' | 'kvHeads' | 'intermediateSize' | 'layers'>

/**
 * Refuses a mesh that a model or the machine cannot have, with the nearest ones that they can. Any vocabulary can be cut,
 * unevenly too, and adapters and prefixes are cut as the layers that they belong to.
 *
 * @param devices GPUs of the run, or `null` on a CPU, which any number of ranks share.
 * @throws {PlanError} `mesh.heads`, `mesh.groups`, `mesh.width`, `mesh.layers`, `mesh.devices`.
 */
export function refuseMesh(mesh: MeshPlan, architecture: Cuttable, devices: number | null): void {
  const misfit = misfitOf(mesh, architecture, devices)
  if (misfit !== null) throw misfitError(misfit, nearestMeshes(mesh, (other) => misfitOf(other, architecture, devices) === null, architecture))
}

/** Can a model have a mesh? */
export function fitsMesh(mesh: MeshPlan, architecture: Cuttable): boolean { return misfitOf(mesh, architecture, null) === null }

/**
 * Refuses a mesh whose degrees do not multiply to the number of ranks that were started.
 *
 * @throws {PlanError} `mesh.ranks`.
 */
export function refuseRanks(mesh: MeshPlan, ranks: number): void {
  const size = worldSize(meshShape(mesh))
  if (size === ranks) return
  const inner = mesh.pp * mesh.tp * mesh.sharding.degree
  const replicas = Math.max(1, Math.round(ranks / inner)), filled = meshCalls({ ...mesh, dp: replicas })
  const remedies = [...(inner * replicas === size ? [] : [`${filled} on ${count(inner * replicas, 'rank')}`]), count(size, 'rank')]
  throw new PlanError('mesh.ranks', `${meshCalls(mesh)} is a mesh of ${count(size, 'rank')}, and there are ${ranks}; try ${remedies.join(' or ')}`, { ranks, worldSize: size, mesh })
}

function misfitOf(mesh: MeshPlan, { heads, kvHeads, intermediateSize, layers }: Cuttable, devices: number | null): Misfit | null {
  const { tp, pp, virtual } = mesh, ranges = pp * virtual, ranks = worldSize(meshShape(mesh))
  if (heads % tp !== 0) return { code: 'mesh.heads', message: `tp ${tp} does not divide the model's ${count(heads, 'attention head')}`, details: { tp, heads } }
  if (kvHeads % tp !== 0 && tp % kvHeads !== 0) {
    return { code: 'mesh.groups', message: `tp ${tp} neither divides the model's ${count(kvHeads, 'key/value head')} nor is a multiple of them`, details: { tp, kvHeads } }
  }
  if (intermediateSize % tp !== 0) return { code: 'mesh.width', message: `tp ${tp} does not divide the model's MLP width ${intermediateSize}`, details: { tp, intermediateSize } }
  if (ranges > layers) {
    const asked = `${pp} pipeline stages${virtual > 1 ? ` of ${virtual} ranges each` : ''}`
    return { code: 'mesh.layers', message: `${asked} need ${ranges} layers at least, and the model has ${layers}`, details: { pp, virtual, layers } }
  }
  if (devices !== null && ranks > devices) {
    return { code: 'mesh.devices', message: `the mesh has ${count(ranks, 'rank')} with a GPU each, and there ${devices === 1 ? 'is' : 'are'} ${devices}`, details: { ranks, devices } }
  }
  return null
}

function misfitError({ code, message, details }: Misfit, nearest: readonly MeshPlan[]): PlanError {
  const remedy = nearest.map(meshCalls).join(' or '), remedyFlags = nearest.map(meshFlags).join(' or ')
  return new PlanError(code, `${message}; try ${remedy}`, { ...details, nearest: nearest.map(meshShape), remedy, remedyFlags })
}

const shown = 3

/** Possible meshes beside an impossible one: those of its own size first, then by how far the degrees are apart. */
function nearestMeshes(mesh: MeshPlan, fits: (mesh: MeshPlan) => boolean, { heads, layers }: Cuttable): MeshPlan[] {
  const shape = meshShape(mesh), size = worldSize(shape)
  const steps = (a: number, b: number): number => Math.abs(Math.log2(a / b))
  const found: { readonly mesh: MeshPlan; readonly other: number; readonly distance: number }[] = []
  for (const tp of upTo(heads)) for (const pp of upTo(layers)) for (const data of dataDegrees(mesh, size / (tp * pp))) {
    const virtual = pp === 1 ? 1 : Math.max(1, Math.min(mesh.virtual, Math.floor(layers / pp)))
    const candidate: MeshPlan = { ...mesh, ...data, pp, virtual, tp }
    if (!fits(candidate)) continue
    const distance = steps(tp, shape.tp) + steps(pp, shape.pp) + steps(data.dp, shape.dp) + steps(data.sharding.degree, shape.sharding) + steps(virtual, mesh.virtual)
    found.push({ mesh: candidate, other: worldSize(meshShape(candidate)) === size ? 0 : 1, distance })
  }
  found.sort((a, b) => a.other - b.other || a.distance - b.distance || worldSize(meshShape(b.mesh)) - worldSize(meshShape(a.mesh)) || a.mesh.dp - b.mesh.dp)
  const seen = new Set<string>()
  return found.filter(({ mesh: { dp, sharding, pp, tp, virtual } }) => {
    const key = [dp, sharding.degree, pp, tp, virtual].join()
    return !seen.has(key) && seen.add(key)
  }).slice(0, shown).map((each) => each.mesh)
}

/** Degrees of the data axes: as they are; as the rest of the ranks needs them, on either axis; and fewer, where devices are few. */
function dataDegrees({ dp, sharding }: MeshPlan, rest: number): Pick<MeshPlan, 'dp' | 'sharding'>[] {
  const degree = (value: number): MeshPlan['sharding'] => (value === 1 ? { degree: 1, stage: 0 } : { ...sharding, degree: value })
  const all = [{ dp, sharding }]
  if (Number.isInteger(rest / sharding.degree)) all.push({ dp: rest / sharding.degree, sharding })
  if (sharding.degree > 1 && Number.isInteger(rest / dp)) all.push({ dp, sharding: degree(rest / dp) })
  for (let fewer = dp >> 1; fewer >= 1; fewer >>= 1) all.push({ dp: fewer, sharding })
  for (let fewer = sharding.degree >> 1; fewer >= 1; fewer >>= 1) all.push({ dp, sharding: degree(fewer) }, { dp: 1, sharding: degree(fewer) })
  return all
}

function upTo(most: number): number[] { return Array.from({ length: most }, (_, i) => i + 1) }

function count(value: number, what: string): string { return `${value} ${what}${value === 1 ? '' : 's'}` }
