import { defaultMesh } from '../../plan/defaults'
import { deepFreeze } from '../../plan/freeze'
import type { MeshPlan } from '../../plan/plan'
import { conflict, refusal, unknownName } from '../../plan/refuse'

const example = 'tp=2,pp=2'
const names = ['dp', 'sharding', 'pp', 'tp', 'sequence']

/**
 * A mesh as text: `tp=2,pp=2`, `sharding=2:stage3`, `pp=2:virtual2`, `tp=2,sequence`. Axes that are left out have degree
 * 1; `sharding` alone is stage 1; `sequence` is sequence parallelism.
 *
 * @throws {PlanError} `plan.value`, `plan.unknown`, `plan.conflict`.
 */
export function parseMesh(text: string): MeshPlan {
  const seen = new Set<string>()
  let mesh: MeshPlan = defaultMesh
  for (const part of text.split(',').map((each) => each.trim())) {
    const [, name, degree, suffix] = /^([^=:]*)(?:=([^:]*))?(?::(.*))?$/.exec(part) ?? ['', '', undefined, undefined]
    if (name === '') throw refusal('a mesh', `axes with their degrees (${names.slice(0, 4).join(', ')})`, text, example)
    if (!names.includes(name)) throw unknownName('axis of a mesh', name, names)
    if (seen.has(name)) throw conflict([name], `the mesh ${text} names ${name} twice`, `${name} once`)
    seen.add(name)
    mesh = { ...mesh, ...axisOf(name, degree, suffix, part) }
  }
  return deepFreeze(mesh)
}

function axisOf(name: string, degree: string | undefined, suffix: string | undefined, part: string): Partial<MeshPlan> {
  if (name === 'sequence') {
    if (degree !== undefined || suffix !== undefined) throw refusal('sequence of a mesh', 'nothing', part, 'tp=2,sequence')
    return { sequenceParallel: true }
  }
  if (degree === undefined || !/^[1-9]\d{0,8}$/.test(degree)) throw refusal(`${name} of a mesh`, 'a whole number of at least 1', degree, `${name}=2`)
  const value = Number(degree)
  if (name === 'sharding') return { sharding: shardingOf(value, suffix, part) }
  if (name === 'pp') return pipelineOf(value, suffix, part)
  if (suffix !== undefined) throw refusal(`${name} of a mesh`, 'a degree alone', part, `${name}=${value}`)
  return { [name]: value }
}

function shardingOf(degree: number, suffix: string | undefined, part: string): MeshPlan['sharding'] {
  const stage = suffix === undefined ? '1' : /^stage([123])$/.exec(suffix)?.[1]
  if (stage === undefined) throw refusal('sharding of a mesh', 'stage1, stage2 or stage3 behind the degree', part, `sharding=${degree}:stage1`)
  return degree === 1 ? { degree, stage: 0 } : { degree, stage: Number(stage) as 1 | 2 | 3 }
}

function pipelineOf(pp: number, suffix: string | undefined, part: string): Pick<MeshPlan, 'pp' | 'virtual'> {
  const virtual = suffix === undefined ? '1' : /^virtual([1-9]\d{0,3})$/.exec(suffix)?.[1]
  if (virtual === undefined) throw refusal('pp of a mesh', 'virtualN behind the degree, for interleaved stages', part, `pp=${pp}:virtual2`)
  return { pp, virtual: pp === 1 ? 1 : Number(virtual) }
}
