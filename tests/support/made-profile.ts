import { Profile } from 'fettle'
import type { MemoryReading, ProfileData, ProfileSpan, RankProfile } from 'fettle'

/** ms and GFLOP of each block's forward; a backward takes as much again. */
const blocks = [['inputNorm', 0.3, 0], ['qkv', 2, 0.24], ['rotary', 0.2, 0], ['attention', 1.5, 0.1], ['out', 1.2, 0.15], ['postNorm', 0.3, 0], ['up', 6, 0.8], ['activation', 0.6, 0], ['down', 3, 0.4]] as const

/** One rank's step of a made-up model, in which each thing takes what the table says. */
function rankOf(rank: number, layers: number): RankProfile {
  const spans: ProfileSpan[] = [], memory: MemoryReading[] = []
  let now = 0, kept = 0
  const read = (at: MemoryReading['at'], layer = -1): void => { memory.push({ time: now, at, layer, resident: 950e6, tensors: 40e6 + kept, tensorsPeak: 42e6 + kept, planned: 350e6, kept }) }
  const span = (kind: ProfileSpan['kind'], name: string, ms: number, facts: Partial<ProfileSpan> = {}): void => {
    spans.push({ kind, name, layer: -1, pass: kind === 'block' ? 'forward' : null, start: now, ms, flops: 0, faults: 0, shape: '', ...facts })
    now += ms
  }
  read('begin')
  span('part', 'batches', 1)
  span('part', 'zeroGrad', 0.5)
  const walk = now
  span('block', 'embedding', 0.8, { shape: '552 → 576' })
  read('embed')
  for (let layer = 0; layer < layers; layer++) {
    for (const [name, ms, gflop] of blocks) span('block', name, ms, { layer, flops: gflop * 1e9, shape: '552 × 576 → 960, LoRA 24', faults: layer === 0 ? 3 : 0 })
    kept += 8e6
    read('forward', layer)
  }
  span('block', 'finalNorm', 0.2)
  span('block', 'head', 30, { flops: 4e9, shape: '216 × 576 → 49152' })
  read('head')
  for (let layer = layers - 1; layer >= 0; layer--) {
    for (const [name, ms, gflop] of [...blocks].reverse()) span('block', name, 1.2 * ms, { layer, pass: 'backward', flops: 2 * gflop * 1e9, shape: '552 × 576 → 960, LoRA 24' })
    if (rank > 0) span('communication', 'allReduce', 0.5)
    kept -= 8e6
    read('backward', layer)
  }
  spans.push({ kind: 'part', name: 'walk', layer: -1, pass: null, start: walk, ms: now - walk, flops: 0, faults: 12, shape: '' })
  span('part', 'gradNorm', 0.4)
  span('part', 'update', 2)
  read('end')
  return {
    rank, epoch: 1_700_000_000_000_000 + rank * 250, steps: [{ step: 4, start: 0, ms: now + 1, tokens: 552, supervised: 216 }], spans, memory,
    parts: [
      { name: 'library and runtime', bytes: 184e6 }, { name: 'weights', bytes: 310e6 }, { name: 'gradients', bytes: 10e6 }, { name: 'optimizer moments', bytes: 20e6 }, { name: 'activations', bytes: 6e6 },
      { name: 'workspace', bytes: 300e6 }, { name: 'head panel', bytes: 50e6 }, { name: 'rest', bytes: 70e6 },
    ],
  }
}

/** A profile whose every figure is known. */
export function madeProfile({ ranks = 1, layers = 30 }: { readonly ranks?: number; readonly layers?: number } = {}): Profile {
  const data: ProfileData = {
    version: 1, model: 'builtin:smollm2-135m', device: 'cpu', dtype: 'bfloat16', threads: 2, blocks: 'fused', limit: { best: 200e9, blocks: 200e9, aten: 18e9, size: 1024 },
    ranks: Array.from({ length: ranks }, (_, rank) => rankOf(rank, layers)),
  }
  return new Profile(data)
}
