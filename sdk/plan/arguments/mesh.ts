import { PlanError } from '../../errors'
import type { MeshPlan } from '../plan'
import { unknownName } from '../refuse'
import type { Arguments } from './read'

/** Arguments that decide how many ranks there are, and so which of them a message may name. */
const degreeNames = { tp: 'tensor_parallel_degree', pp: 'pipeline_parallel_degree', sharding: 'sharding_parallel_degree', dp: 'data_parallel_degree' } as const

/** Words that the reference knows in each `…_parallel_config`. They tune its messages and buffers, and no result depends on them. */
const words: Readonly<Record<string, readonly string[]>> = {
  tensor_parallel_config: [
    'enable_mp_async_allreduce', 'enable_mp_skip_c_identity', 'enable_mp_fused_linear_param_grad_add', 'enable_sp_async_reduce_scatter', 'enable_delay_scale_loss',
    'sync_param', 'sync_grad', 'sync_moment', 'replace_with_c_embedding', 'replace_with_parallel_cross_entropy',
  ],
  pipeline_parallel_config: [
    'disable_p2p_cache_shape', 'disable_partial_send_recv', 'enable_delay_scale_loss', 'enable_dp_comm_overlap', 'enable_sharding_comm_overlap', 'enable_timer', 'enable_release_grads',
    'enable_clear_every_step_cache', 'enable_overlap_p2p_comm', 'disable_batch_p2p_comm', 'disable_non_batch_p2p_comm', 'best_unbalanced_scheduler',
  ],
  sharding_parallel_config: [
    'enable_stage1_tensor_fusion', 'enable_stage1_overlap', 'enable_stage2_overlap', 'split_param', 'disable_stage1_reduce_avg', 'enable_stage1_broadcast_overlap',
    'enable_stage1_allgather_overlap', 'enable_release_grads',
  ],
}

/** Refuses words that the reference does not know either, with the nearest that it does. */
export function refuseUnknownWords(args: Arguments): void {
  for (const [name, known] of Object.entries(words)) {
    const unknown = args.get<string>(name).split(/[\s,]+/).find((word) => word !== '' && !known.includes(word))
    if (unknown !== undefined) throw unknownName(`word of ${name}`, unknown, known, args.where(name))
  }
}

/** Ranks that were asked for, by number or by naming GPUs; `null`: as many as the degrees multiply to. */
function ranksOf(args: Arguments): number | null { return args.get<number | null>('ranks') ?? args.get<readonly number[] | null>('gpus')?.length ?? null }

/** The stage that `sharding` names; 0: none. */
export function stageOf(args: Arguments): 0 | 1 | 2 | 3 { return Number(/stage([123])/.exec(args.get<string>('sharding'))?.[1] ?? 0) as 0 | 1 | 2 | 3 }

/** The mesh that arguments describe: what they leave open is what the ranks leave. */
export function meshFrom(args: Arguments): MeshPlan {
  const said = (name: string): number | null => { const degree = args.get<number>(name); return degree === -1 ? null : degree }
  const ranks = ranksOf(args), stage = stageOf(args)
  const tp = said(degreeNames.tp) ?? 1, pp = said(degreeNames.pp) ?? 1, dpSaid = said(degreeNames.dp)
  const rest = (taken: number): number => (ranks === null ? 1 : ranks / taken)
  const degree = stage === 0 ? 1 : said(degreeNames.sharding) ?? rest(tp * pp * (dpSaid ?? 1))
  const dp = dpSaid ?? rest(tp * pp * degree)
  if (!Number.isInteger(degree) || !Number.isInteger(dp) || (ranks !== null && tp * pp * degree * dp !== ranks)) throw misfit(args, ranks as number)
  const virtual = pp > 1 ? args.get<number>('virtual_pp_degree') : 1
  return { dp, sharding: degree === 1 ? { degree, stage: 0 } : { degree, stage }, pp, virtual, tp, sequenceParallel: args.get('sequence_parallel'), devices: args.get('gpus') }
}

/** Degrees that the ranks do not fit, with numbers of ranks that they would. */
function misfit(args: Arguments, ranks: number): PlanError {
  const names = Object.values(degreeNames).filter((name) => args.get<number>(name) > 1 && (name !== degreeNames.sharding || stageOf(args) > 0))
  const product = names.reduce((all, name) => all * args.get<number>(name), 1)
  const open = args.get<number>(degreeNames.dp) === -1
  const times = open ? [Math.floor(ranks / product), Math.ceil(ranks / product)].filter((each) => each > 0) : [1]
  const what = args.get('ranks') === null ? `gpus names ${ranks} ranks` : `ranks is ${ranks}`
  const degrees = names.map((name) => `${name} ${args.get<number>(name)}`).join(' · ') || 'data_parallel_degree 1'
  const message = `${what}, which ${degrees} does not ${open ? 'divide' : 'multiply to'}; try ${times.map((each) => each * product).join(' or ')} ranks, or degrees that divide ${ranks}`
  return new PlanError('mesh.ranks', args.where('ranks', 'gpus', ...names) + message, { ranks, degrees: Object.fromEntries(names.map((name) => [name, args.get(name)])) })
}
