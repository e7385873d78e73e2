import assert from 'node:assert/strict'
import { test } from 'node:test'
import { residentMemory, tuneAllocator } from 'fettle-native'
import { chromeTrace } from 'fettle/dist/profile/chrome'
import { measureLimit } from 'fettle/dist/profile/limit'
import { readBase } from 'fettle/dist/profile/memory'
import { RecordedSteps } from 'fettle/dist/profile/recorded-steps'
import { flat, framesOf, type Frame } from 'fettle/dist/profile/tree'
import type { RankProfile } from 'fettle'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { defaultLora } from 'fettle/dist/plan/defaults'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan, type PlanChanges } from '../../support/trainer'
import { checkNesting } from './nesting'

const lora = { ...defaultLora, rank: 4 }
const base = { method: 'lora', lora, batch: { size: 4, evalSize: 4, accumulate: 2, tokens: null }, steps: 6 } as const

/** Two steps that are recorded behind one that is not. */
function record(changes: PlanChanges = {}, options: Parameters<typeof tinyTrainer>[2] = {}): { profile: RankProfile; losses: number[] } {
  const before = readBase(), trainer = tinyTrainer(trainerPlan({ ...base, ...changes }), memoryRows(randomRows(16)), options), { decoder } = trainer.parts, { blocks } = decoder
  try {
    const losses = [trainer.next().loss], recorded = new RecordedSteps(trainer, before, 0)
    losses.push(recorded.next().loss, recorded.next().loss)
    assert.equal(decoder.blocks, blocks, 'the blocks are their own again')
    assert.equal(trainer.watch, null)
    const profile = recorded.profile()
    losses.push(trainer.next().loss)
    assert.equal(recorded.profile().spans.length, profile.spans.length, 'a step that nobody asked for is not recorded')
    return { profile, losses }
  } finally { freeTrainer(trainer) }
}

const blockNames = (profile: RankProfile, layer: number, pass: string): string[] => profile.spans.filter((span) => span.layer === layer && span.pass === pass).map(({ name }) => name)

test('every block of every layer, forward and backward, in each micro-batch; training goes the same way', () => {
  tuneAllocator()
  const { profile, losses } = record()
  const trainer = tinyTrainer(trainerPlan(base), memoryRows(randomRows(16)))
  assert.deepEqual(losses, [1, 2, 3, 4].map(() => trainer.next().loss))
  freeTrainer(trainer)
  const order = ['inputNorm', 'qkv', 'rotary', 'attention', 'out', 'postNorm', 'up', 'activation', 'down'], times = 4 // two steps of two micro-batches
  for (const layer of [0, 1, 2]) {
    assert.deepEqual(blockNames(profile, layer, 'forward'), Array.from({ length: times }, () => order).flat())
    assert.deepEqual(blockNames(profile, layer, 'backward'), Array.from({ length: times }, () => [...order].reverse()).flat())
  }
  assert.deepEqual(profile.steps.map(({ step }) => step), [2, 3])
  assert.deepEqual([...new Set(profile.spans.filter(({ kind }) => kind === 'part').map(({ name }) => name))].sort(), ['batches', 'clip', 'gradNorm', 'update', 'walk', 'weightsChanged', 'zeroGrad'])
})

test('operations of the products are those of the shapes', () => {
  const { profile } = record({ batch: { size: 4, evalSize: 4, accumulate: 1, tokens: null } })
  const down = profile.spans.find(({ name, pass }) => name === 'down' && pass === 'forward')!, [, rows, width, out, rank] = /^(\d+) × (\d+) → (\d+), LoRA (\d+)$/.exec(down.shape)!.map(Number)
  assert.equal(rows, profile.steps[0].tokens)
  assert.equal(down.flops, 2 * rows * (width * out + rank * (width + out)))
  const back = profile.spans.find(({ name, pass }) => name === 'down' && pass === 'backward')!
  assert.equal(back.flops, 2 * rows * (width * out + 2 * rank * (width + out)), 'a frozen weight has no gradient, an adapter has')
  const head = profile.spans.find(({ name }) => name === 'head')!, [, supervised, hidden, vocabulary] = /^(\d+) × (\d+) → (\d+)$/.exec(head.shape)!.map(Number)
  assert.deepEqual([supervised, head.flops], [profile.steps[0].supervised, 4 * supervised * hidden * vocabulary])
  for (const name of ['inputNorm', 'rotary', 'activation', 'embedding']) assert.equal(profile.spans.find((span) => span.name === name)!.flops, 0)
})

test('all weights train: their gradients are products too', () => {
  const { profile } = record({ method: 'sft', lora: null, batch: { size: 4, evalSize: 4, accumulate: 1, tokens: null } })
  const [forward, backward] = ['forward', 'backward'].map((pass) => profile.spans.find((span) => span.name === 'up' && span.layer === 1 && span.pass === pass)!)
  assert.equal(backward.flops, 2 * forward.flops)
})

test('frames nest, and what runs again is told apart', () => {
  const { profile } = record({}, { recompute: true })
  assert.equal(blockNames(profile, 1, 'recompute').length, 4 * 9)
  checkNesting(chromeTrace({ version: 1, model: 'm', device: 'cpu', dtype: 'float32', threads: 1, blocks: 'plain', limit: { best: 1, blocks: 1, aten: 1, size: 1 }, ranks: [profile] }).traceEvents)
  const inside = (frame: Frame): void => {
    for (const child of frame.children) {
      assert.ok(child.start >= frame.start && child.start + child.ms <= frame.start + frame.ms + 1e-6, `${child.name} in ${frame.name}`)
      inside(child)
    }
  }
  for (const step of framesOf(profile)) {
    inside(step)
    const walk = step.children.find(({ name }) => name === 'walk')!
    const micro = ['embedding', 'forward', 'head and loss', 'backward']
    assert.deepEqual(walk.children.map(({ name }) => name), [...micro, ...micro])
    assert.deepEqual(walk.children[3].children.map(({ name }) => name), ['layer 2', 'layer 1', 'layer 0'])
    const own = [...flat(step)].filter(({ kind }) => kind === 'block').reduce((sum, { ms }) => sum + ms, 0)
    assert.ok(own <= step.ms, 'blocks take no more than the step')
  }
})

test('memory: the staircase rises through the forward and is gone behind the backward; parts sum to the peak', () => {
  tuneAllocator()
  const { profile } = record({ batch: { size: 4, evalSize: 4, accumulate: 1, tokens: null } }), { memory, parts } = profile, step = memory.slice(0, memory.length / 2)
  assert.deepEqual(step.map(({ at, layer }) => `${at} ${layer}`), ['begin -1', 'embed -1', 'forward 0', 'forward 1', 'forward 2', 'head -1', 'backward 2', 'backward 1', 'backward 0', 'end -1'])
  const kept = step.map(({ kept: bytes }) => bytes)
  assert.ok(kept[1] < kept[2] && kept[2] < kept[3] && kept[3] < kept[4], kept.join())
  assert.ok(kept[6] > kept[7] && kept[7] > kept[8], kept.join())
  const peak = Math.max(...memory.map(({ resident }) => resident)), sum = parts.reduce((total, { bytes }) => total + bytes, 0)
  assert.ok(Math.abs(sum - peak) <= 1e-6 * peak, `${sum} of ${peak}`)
  assert.ok(Math.abs(peak - residentMemory()) < 0.1 * peak)
  const of = (name: string): number => parts.find((part) => part.name === name)?.bytes ?? 0
  assert.ok(of('gradients') > 0)
  assert.equal(of('optimizer moments'), 2 * of('gradients'))
  assert.ok(parts.every(({ bytes }) => bytes > 0) && of('activations') > 0)
})

test('the limit is a rate that products of these blocks reach', () => {
  for (const dtype of ['float32', 'bfloat16'] as const) {
    const began = performance.now(), { best, blocks, aten } = measureLimit(chooseBlocks({ device: 'cpu', dtype, blocks: 'auto' }), 'cpu', dtype)
    assert.ok(blocks > 1e8 && aten > 1e8 && best === Math.max(blocks, aten), `${blocks} ${aten}`)
    assert.ok(performance.now() - began < 5000)
  }
})
