import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { memory, ops, scope, setThreads, tensor, type Tensor } from 'fettle-native'
import { attachLora, type LoraAdapter } from 'fettle/dist/adapters/lora'
import { loraConfig, loraConfigOf } from 'fettle/dist/adapters/lora-config'
import { loadLora, saveLora } from 'fettle/dist/adapters/peft'
import { principalPart } from 'fettle/dist/adapters/pissa'
import { mergeLora } from 'fettle/dist/export/merge'
import { packBatch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { Random } from 'fettle/dist/models/random'
import { openWeights } from 'fettle/dist/models/weights'
import { defaultLora } from 'fettle/dist/plan/defaults'
import type { LoraPlan } from 'fettle/dist/plan/plan'
import { openAdapter } from 'fettle/dist/worker/adapters'
import { goldenCase, largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'
import { freeTrainer, memoryRows, randomRows, tinyTrainer, trainerPlan } from '../../support/trainer'

setThreads(1) // tiny products: a second thread only waits

const pissa = (own: Partial<LoraPlan> = {}): LoraPlan => ({ ...defaultLora, rank: 4, alpha: 8, pissa: true, ...own })
const models = ['llama-v2-gqa', 'bloom', 'opt-wide-embedding', 'qwen-7b', 'chatglm-6b', 'chatglm2-6b', 'phi3-window']
type Dtype = 'float32' | 'bfloat16' | 'float16'

function open(golden: string, blocks: 'plain' | 'auto' = 'plain', dtype: Dtype = 'float32', folder = fixture('golden', golden)): Decoder {
  return new Decoder(loadParameters(openWeights(folder), { dtype, device: 'cpu', train: false }), chooseBlocks({ device: 'cpu', dtype, blocks }))
}

function close(...decoders: readonly Decoder[]): void {
  for (const decoder of decoders) {
    decoder.free()
    decoder.parameters.free()
  }
}

function logits(golden: string, decoder: Decoder, adapter = true): Tensor {
  const ids = need(goldenCase(golden).io, 'single.input_ids').toArray(), batch = packBatch([{ inputIds: ids }], 'cpu', decoder.parameters.architecture.prompt)
  const context = decoder.context(batch, { mode: 'infer', adapter })
  return decoder.headLogits(decoder.hidden(batch, context), context)
}

/** As training would: the masters move. */
function disturb(decoder: Decoder, seed = 5): void {
  const random = new Random(seed)
  scope(() => { for (const { master } of decoder.parameters.adapter!.named()) ops.add_(master!, tensor(Float32Array.from({ length: master!.numel }, () => 0.03 * random.normal()), master!.shape)) })
  decoder.weightsChanged()
}

test('the principal part is the nearest matrix of its rank, of large matrices too', () => scope(() => {
  const random = new Random(2), drawn = (rows: number, columns: number): Tensor => tensor(Float32Array.from({ length: rows * columns }, () => random.normal()), [rows, columns])
  // Singular values that fall as those of a trained weight do.
  for (const [rows, columns] of [[60, 40], [40, 60], [1100, 1200]]) {
    const side = Math.min(rows, columns), [u, v] = [ops.linalg_qr(drawn(rows, side))[0], ops.linalg_qr(drawn(columns, side))[0]]
    const sizes = Float32Array.from({ length: side }, (_, i) => 10 / (1 + i) ** 0.7), weight = ops.mm(ops.mul(u, tensor(sizes, [side])), ops.t(v))
    for (const scale of [1, 2, 0.25]) {
      const { a, b } = principalPart(weight, 6, scale, new Random(1)), rest = ops.sub(weight, ops.mul(ops.mm(b, a), scale))
      const left = ops.linalg_vector_norm(rest, 2).item(), least = Math.sqrt(sizes.slice(6).reduce((sum, s) => sum + s * s, 0))
      assert.ok(left / least < 1.0005, `${rows} × ${columns}: ${left}, at best ${least}`)
      // Both sides carry the square root of what they share.
      const [inA, inB] = [ops.mm(a, ops.t(a)), ops.mm(ops.t(b), b)].map((square) => ops.diagonal(square).toArray())
      inA.forEach((value, i) => assert.ok(Math.abs(value * scale / sizes[i] - 1) < 0.02 && Math.abs(inB[i] / value - 1) < 1e-3, `${value} and ${inB[i]} for ${sizes[i]}`))
    }
  }
}))

describe('an adapter that begins as the principal part of the weights', () => {
  for (const golden of models) {
    for (const blocks of ['plain', 'auto'] as const) {
      test(`answers as the base at first, and without it always: ${golden}, ${blocks} blocks`, () => scope(() => {
        const base = open(golden), tuned = open(golden, blocks), expected = logits(golden, base)
        openAdapter({ lora: pissa(), prefix: null, seed: 1 }, tuned.parameters)
        assert.ok(largestDifference(logits(golden, tuned), expected) <= 1e-5)
        disturb(tuned)
        assert.ok(largestDifference(logits(golden, tuned), expected) > 1e-3)
        assert.ok(largestDifference(logits(golden, tuned, false), expected) <= 1e-5)
        close(base, tuned)
      }))
    }
  }

  for (const dtype of ['bfloat16', 'float16'] as const) {
    test(`in ${dtype} too`, () => scope(() => {
      const golden = 'llama-v2-gqa', base = open(golden, 'plain', dtype), tuned = open(golden, 'plain', dtype), exact = open(golden)
      openAdapter({ lora: pissa(), prefix: null, seed: 1 }, tuned.parameters)
      const reference = logits(golden, exact), allowed = 3 * largestDifference(logits(golden, base), reference)
      for (const adapter of [true, false]) assert.ok(largestDifference(logits(golden, tuned, adapter), reference) <= allowed)
      close(base, tuned, exact)
    }))
  }

  for (const [name, own] of [['', {}], [', rsLoRA', { rsLora: true, alpha: 4 }], [', DoRA', { dora: true }], [', patterns and some modules', { targets: ['q_proj', 'v_proj', 'down_proj'], rankPattern: { v_proj: 2 }, alphaPattern: { down_proj: 3 } }]] as const) {
    test(`is saved as a LoRA of twice the rank on the base as it came${name}`, (t) => scope(() => {
      const golden = 'llama-v2-gqa', folder = temporaryFolder(t), [base, tuned, again] = [open(golden), open(golden), open(golden)]
      openAdapter({ lora: pissa(own), prefix: null, seed: 1 }, tuned.parameters)
      disturb(tuned)
      const live = logits(golden, tuned), adapter = tuned.parameters.adapter as LoraAdapter
      saveLora(adapter, path.join(folder, 'adapter'), 'base')
      const saved = JSON.parse(fs.readFileSync(path.join(folder, 'adapter', 'adapter_config.json'), 'utf8')) as Record<string, unknown>
      assert.deepEqual([saved.r, saved.rank_pattern], [8, 'rankPattern' in own ? { v_proj: 4 } : {}])
      loadLora(again.parameters, path.join(folder, 'adapter'))
      assert.ok(largestDifference(logits(golden, again), live) <= 1e-5)
      mergeLora({ model: fixture('golden', golden), adapter: path.join(folder, 'adapter'), output: path.join(folder, 'merged') })
      const merged = open(golden, 'plain', 'float32', path.join(folder, 'merged'))
      assert.ok(largestDifference(logits(golden, merged), live) <= 2e-5)
      adapter.fuse()
      const fused = new Decoder(tuned.parameters, chooseBlocks({ device: 'cpu', dtype: 'float32', blocks: 'plain' }))
      assert.ok(largestDifference(logits(golden, fused), live) <= 2e-5)
      fused.free()
      close(base, tuned, again, merged)
    }))
  }

  test('taken off, it gives the weights back, and no tensor stays', () => {
    const golden = 'llama-v2-gqa', run = (): void => scope(() => {
      const base = open(golden), tuned = open(golden)
      const adapter = attachLora(tuned.parameters, loraConfig({ rank: 4, alpha: 8 }), { seed: 1, principal: true })
      disturb(tuned)
      adapter.detach()
      assert.ok(largestDifference(logits(golden, tuned), logits(golden, base)) <= 1e-5)
      close(base, tuned)
    })
    run()
    const before = memory().liveTensors
    run()
    assert.equal(memory().liveTensors, before)
  })

  test('a rank above the shorter side of a weight is refused with the way out', () => {
    const { parameters } = open('llama-v2-gqa')
    assert.throws(() => attachLora(parameters, loraConfig({ rank: 500, alpha: 8 }), { seed: 1, principal: true }), { code: 'lora.principal', message: /rank of at most \d+ for .*_proj.*smaller rank/ })
  })
})

for (const [name, changes] of [['fp32', {}], ['bf16', { precision: 'bf16' }], ['fp16 O2', { precision: 'fp16', fp16: { level: 'O2', lossScale: 1024 } }], ['DoRA', { lora: pissa({ dora: true }) }]] as const) {
  test(`it learns, and a resume goes on bit for bit: ${name}`, (t) => {
    const plan = trainerPlan({ method: 'lora', lora: pissa(), batch: { size: 3, evalSize: 4, accumulate: 1, tokens: null }, steps: 8, ...changes })
    const fast = { ...plan, optimizer: { ...plan.optimizer, learningRate: 2e-2 } }, rows = memoryRows(randomRows(6)), folder = temporaryFolder(t)
    const straight = tinyTrainer(fast, rows)
    const losses = Array.from({ length: 4 }, () => straight.next().loss)
    saveLora(straight.parameters.adapter as LoraAdapter, folder, 'base')
    straight.write(folder)
    const after = Array.from({ length: 4 }, () => straight.next())
    assert.ok(after[3].loss < losses[0] - 0.05, `loss went from ${losses[0]} to ${after[3].loss}`)
    const resumed = tinyTrainer(fast, rows, { checkpoint: folder })
    resumed.restore(folder)
    assert.deepEqual(Array.from({ length: 4 }, () => resumed.next()), after)
    const weights = (trainer: typeof straight): number[] => scope(() => trainer.parameters.linear('0.qkv').weight.value.toArray())
    assert.deepEqual(weights(resumed), weights(straight))
    assert.throws(() => tinyTrainer({ ...fast, lora: { ...fast.lora!, pissa: false } }, rows, { checkpoint: folder }), { code: 'checkpoint.fit', message: /resume with pissa true/ })
    freeTrainer(straight)
    freeTrainer(resumed)
  })
}

test('without pissa nothing of a model changes hands', () => {
  const { parameters } = open('llama-v2-gqa'), before = parameters.linear('0.qkv').weight
  attachLora(parameters, loraConfigOf(defaultLora), { seed: 1, principal: false })
  assert.equal(parameters.linear('0.qkv').weight, before)
})
