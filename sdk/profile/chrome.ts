import { flat, framesOf } from './tree'
import type { ProfileData, RankProfile } from './types'

/** An event of the Trace Event Format, as Perfetto and chrome://tracing load it. Times in microseconds. */
export type TraceEvent =
  | { readonly name: string; readonly cat: string; readonly ph: 'X'; readonly ts: number; readonly dur: number; readonly pid: number; readonly tid: number; readonly args: Readonly<Record<string, unknown>> }
  | { readonly name: string; readonly ph: 'C'; readonly ts: number; readonly pid: number; readonly args: Readonly<Record<string, number>> }
  | { readonly name: 'process_name' | 'thread_name' | 'process_sort_index'; readonly ph: 'M'; readonly pid: number; readonly tid: number; readonly args: Readonly<Record<string, unknown>> }

/** A whole trace file. */
export interface ChromeTrace { readonly traceEvents: readonly TraceEvent[]; readonly displayTimeUnit: 'ms'; readonly otherData: Readonly<Record<string, unknown>> }

/**
 * The profile as a trace: a process for each rank; in it complete events that nest by time (step, part, forward or backward, layer, half,
 * block, collective) and counters of memory.
 * @see Trace Event Format, Google, 2016
 */
export function chromeTrace({ ranks, model, device, dtype, threads, blocks, limit }: ProfileData): ChromeTrace {
  const first = Math.min(...ranks.map(({ epoch }) => epoch))
  return {
    traceEvents: ranks.flatMap((rank) => rankEvents(rank, rank.epoch - first)), displayTimeUnit: 'ms',
    otherData: { model, device, dtype, threads, blocks, 'GEMM limit, GFLOP/s': limit.best / 1e9 },
  }
}

/** @param shift microseconds from the first rank's begin to this one's */
function rankEvents(rank: RankProfile, shift: number): TraceEvent[] {
  const pid = rank.rank, at = (ms: number): number => ms * 1000 + shift
  const named = (name: 'process_name' | 'thread_name', text: string): TraceEvent => ({ name, ph: 'M', pid, tid: 0, args: { name: text } })
  const frames = framesOf(rank).flatMap((step) => [...flat(step)]).map(({ name, kind, start, ms, span }): TraceEvent => ({
    name, cat: kind, ph: 'X', ts: at(start), dur: ms * 1000, pid, tid: 0,
    args: span === null ? {} : {
      ...(span.pass === null ? {} : { pass: span.pass }), ...(span.layer < 0 ? {} : { layer: span.layer }), ...(span.shape === '' ? {} : { shape: span.shape }),
      ...(span.flops === 0 ? {} : { GFLOP: span.flops / 1e9, 'GFLOP/s': span.flops / span.ms / 1e6 }), 'page faults': span.faults,
    },
  }))
  const counters = rank.memory.map(({ time, resident, tensors, planned }): TraceEvent => ({ name: 'memory, MiB', ph: 'C', ts: at(time), pid, args: { resident: resident / 2 ** 20, tensors: tensors / 2 ** 20, planned: planned / 2 ** 20 } }))
  return [named('process_name', `rank ${rank.rank}`), named('thread_name', 'steps'), { name: 'process_sort_index', ph: 'M', pid, tid: 0, args: { sort_index: pid } }, ...frames, ...counters]
}
