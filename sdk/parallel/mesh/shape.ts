import type { MeshPlan } from '../../plan/plan'
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

/** The same as flags of `fettle run`. */
export function meshFlags({ dp, sharding, pp, virtual, tp }: MeshPlan): string {
  const flags = { tensor_parallel_degree: tp, pipeline_parallel_degree: pp, virtual_pp_degree: virtual, sharding_parallel_degree: sharding.degree, data_parallel_degree: dp }
  const said = Object.entries(flags).filter(([, degree]) => degree > 1).map(([name, degree]) => `--${name} ${degree}`)
  return said.length === 0 ? 'one rank' : said.join(' ')
}

/** A mesh as `parseMesh` reads it: `dp=2,sharding=2:stage3,pp=2:virtual2,tp=2,sequence`; empty for one rank. */
export function meshName({ dp, sharding, pp, virtual, tp, sequenceParallel }: MeshPlan): string {
  return [
    dp > 1 && `dp=${dp}`, sharding.degree > 1 && `sharding=${sharding.degree}:stage${sharding.stage}`, pp > 1 && `pp=${pp}${virtual > 1 ? `:virtual${virtual}` : ''}`,
    tp > 1 && `tp=${tp}`, tp > 1 && sequenceParallel && 'sequence',
  ].filter(Boolean).join()
}

/** Ranks that read rows of their own. */
export function dataRanks({ dp, sharding }: MeshPlan): number { return dp * sharding.degree }
