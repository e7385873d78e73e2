import type { MeshPlan } from '../plan/plan'
import type { MeshShape } from './mesh'

/** The four degrees of a plan's mesh. */
export function meshShape({ dp, sharding, pp, tp }: MeshPlan): MeshShape { return { dp, sharding: sharding.degree, pp, tp } }

/** The builder's calls that make a mesh: `.tp(2).pp(2)`. Axes of degree 1 are left out. */
export function meshCalls({ dp, sharding, pp, virtual, tp }: MeshPlan): string {
  const calls = [
    tp > 1 ? `.tp(${tp})` : '',
    pp > 1 ? `.pp(${pp}${virtual > 1 ? `, { virtual: ${virtual} }` : ''})` : '',
    sharding.degree > 1 ? `.sharding({ stage: ${sharding.stage}, degree: ${sharding.degree} })` : '',
    dp > 1 ? `.dp(${dp})` : '',
  ].join('')
  return calls === '' ? 'one rank' : calls
}
