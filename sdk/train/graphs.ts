import { CudaGraph, keep, ops, scope, tensor, type Tensor } from 'fettle-native'
import type { Batch, PackedAttention } from '../models/batch'
import type { Decoder } from '../models/decoder'
import { freeAll } from '../models/free'
import { walk, type WalkOptions, type WalkResult } from './walk'

/** Records what is launched, to launch it again. On a GPU a CUDA graph. */
export interface Recorder {
  /** Runs `body`, whose launches are only recorded: nothing is computed before `replay`, which writes into `result`. */
  record(body: () => WalkResult): { readonly result: WalkResult; replay(): void; free(): void }
}

/** Graphs on a GPU. */
export function cudaRecorder(device: string): Recorder {
  const index = Number(device.split(':')[1] ?? 0)
  return {
    record(body) {
      const { graph, result } = CudaGraph.record(index, body)
      return { result, replay: () => graph.replay(), free: () => graph.free() }
    },
  }
}

/** Sizes of a padded batch. */
export interface Bucket { readonly tokens: number; readonly sequences: number; readonly longest: number; readonly targets: number }

/** Memory that batches of one bucket are copied into; a graph reads there at every replay. */
interface Padded { readonly batch: Batch; readonly starts: Tensor }

interface Recorded { readonly padded: Padded; readonly graph: ReturnType<Recorder['record']> }

/** Graphs that are held at once; batches of further buckets run without one. */
const most = 32

/**
 * CUDA graphs over the walk: forward and backward of a micro-batch become one launch. A graph has fixed shapes, so that batches
 * are padded up to a bucket with sequences of their own, which no label supervises and no other sequence sees: their
 * gradients are zero. The first batch of a bucket runs as it is, the second padded, which loads all that its kernels need, the
 * third is recorded.
 *
 * The gradient's factor is recorded too: `options.scale` must be the same in all calls.
 */
export class WalkGraphs {
  private readonly seen = new Map<string, number>()
  private readonly recorded = new Map<string, Recorded>()

  constructor(private readonly decoder: Decoder, private readonly recorder: Recorder) {}

  /** Buckets that have a graph. */
  get count(): number { return this.recorded.size }

  /** The walk over `batch`, padded or from a graph; `null`: run it as it is. */
  walk(batch: Batch, options: WalkOptions): WalkResult | null {
    if (refusal(this.decoder, batch, options) !== null) return null
    const bucket = bucketOf(batch), key = Object.values(bucket).join('.'), times = (this.seen.get(key) ?? 0) + 1
    this.seen.set(key, times)
    const found = this.recorded.get(key)
    if (found !== undefined) return this.replay(found, batch, bucket)
    if (times === 1 || this.recorded.size === most) return null
    const padded = this.lay(bucket)
    fill(padded, batch, bucket)
    const quiet = { ...options, onPoint: undefined }
    if (times === 2) {
      const result = walk(this.decoder, padded.batch, quiet)
      freeAll([padded.batch, padded.starts])
      return result
    }
    const graph = this.recorder.record(() => walk(this.decoder, padded.batch, quiet))
    const made: Recorded = { padded, graph: { ...graph, result: { lossSum: keep(graph.result.lossSum), correct: keep(graph.result.correct) } } }
    this.recorded.set(key, made)
    return this.replay(made, batch, bucket)
  }

  free(): void {
    for (const { padded, graph } of this.recorded.values()) {
      graph.free()
      freeAll([padded.batch, padded.starts, graph.result])
    }
    this.recorded.clear()
  }

  private replay({ padded, graph }: Recorded, batch: Batch, bucket: Bucket): WalkResult {
    fill(padded, batch, bucket)
    graph.replay()
    return { lossSum: ops.clone(graph.result.lossSum), correct: ops.clone(graph.result.correct) }
  }

  private lay({ tokens, sequences, longest, targets }: Bucket): Padded {
    const { device } = this.decoder.parameters
    const whole = (size: number, dtype: 'int64' | 'int32'): Tensor => keep(ops.zeros([size], { dtype, device }))
    const starts = whole(sequences + 1, 'int32'), attention: PackedAttention = { kind: 'packed', offsets: [0, longest], sequences: { starts, longest } }
    // Its own length is nobody's: positions that pad are 0, and what depends on lengths has no graph.
    return {
      starts, batch: { ids: whole(tokens, 'int64'), positions: whole(tokens, 'int64'), tokens, lengths: [1], attention, targets: { rows: whole(targets, 'int64'), labels: whole(targets, 'int64'), count: targets } },
    }
  }
}

/** Why a batch has no graph; `null`: it can have one. What it names waits for the device, or differs in ways that a graph does not see. */
export function refusal({ blocks, parameters, parameters: { layers } }: Decoder, batch: Batch, { recompute = false, dropout = false }: WalkOptions): string | null {
  const { architecture: { positions, prompt }, adapter, hooks, held } = parameters
  if (blocks.form !== 'cuda') return `blocks in the ${blocks.form} form`
  if (batch.attention.kind !== 'packed' || batch.noise !== undefined || prompt !== null || batch.ghost === true) return 'a batch with a mask, noise or prompts of its own'
  if (positions.kind === 'alibi') return 'slopes of ALiBi'
  if (positions.kind === 'rotary' && (positions.scaling.kind === 'dynamic' || positions.scaling.kind === 'steps')) return 'rotary positions that depend on the length'
  if (adapter?.prefix != null || hooks !== null || held !== null) return 'a prefix, or weights that are not whole'
  if (layers.some(({ qkv, out, up, down }) => [qkv, out, up, down].some(({ lora }) => lora?.parts.some(({ magnitude }) => magnitude !== null)))) return 'DoRA, which runs in the plain form'
  return recompute !== false && dropout ? 'dropout of layers that run again' : null
}

/** The bucket of a batch: at least one token and one sequence more than it has. */
export function bucketOf({ tokens, lengths, targets }: Batch): Bucket {
  const padded = roundUp(tokens + 1), longest = powerOfTwo(Math.max(64, ...lengths))
  // What pads is cut into sequences no longer than the longest.
  return { tokens: padded, longest, sequences: powerOfTwo(lengths.length + Math.ceil((padded - tokens) / longest)), targets: roundUp(targets!.count) }
}

function powerOfTwo(n: number): number { return 2 ** Math.ceil(Math.log2(n)) }

/** Up to a quarter of a power of two, at least to 64: a batch grows by a quarter at most. */
function roundUp(n: number): number {
  const step = Math.max(64, powerOfTwo(n) / 8)
  return Math.ceil(n / step) * step
}

/** Copies a batch into a bucket's memory; rows that pad point at its last token, whose label is −1. */
function fill({ batch: into, starts }: Padded, { ids, positions, tokens, attention, targets }: Batch, bucket: Bucket): void {
  scope(() => {
    const { offsets } = attention as PackedAttention, ends = [...offsets]
    for (let at = tokens; at < bucket.tokens;) ends.push((at = Math.min(bucket.tokens, at + bucket.longest)))
    while (ends.length <= bucket.sequences) ends.push(bucket.tokens)
    ops.copy_(starts, tensor(Int32Array.from(ends)))
    const put = (whole: Tensor, part: Tensor, rest: number): void => {
      ops.fill_(whole, rest)
      ops.copy_(ops.narrow(whole, 0, 0, part.shape[0]), part)
    }
    put(into.ids, ids, 0)
    put(into.positions, positions, 0)
    put(into.targets!.rows, targets!.rows, bucket.tokens - 1)
    put(into.targets!.labels, targets!.labels, -1)
  })
}
