import * as assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { getRngState, memory, scope, tensor } from 'fettle-native'
import { packBatch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { generate, generateSteps, generateTokens } from 'fettle/dist/train/generate'
import { fixture } from '../../support/paths'
import { greedyByWholePasses } from '../../support/whole-passes'

const open = (name: string, blocks: () => ReturnType<typeof plainBlocks>): Decoder =>
  new Decoder(loadParameters(openWeights(fixture('golden', name)), { dtype: 'float32', device: 'cpu', train: false }), blocks())

const decoder = open('llama-v2-gqa', plainBlocks)
after(() => { decoder.free(); decoder.parameters.free() })
const prompts = [[5, 17, 9, 200, 31], [44], [7, 8, 9, 10, 11, 12, 13, 14, 15, 16]]

describe('generation', () => {
  test('with a cache, batched and ragged, gives what it gives without', () => {
    const results = generate(decoder, prompts, { maxNewTokens: 12, stopIds: [] })
    assert.deepEqual(results, prompts.map((prompt) => greedyByWholePasses(decoder, prompt, 12)))
  })

  test('in the fused form too, and with dynamic rotary scaling past its length', () => {
    for (const name of ['llama-v2-gqa', 'llama-tied-smollm']) {
      const fused = open(name, () => chooseBlocks({ device: 'cpu', dtype: 'float32', blocks: 'auto' }))
      assert.deepEqual(generate(fused, prompts, { maxNewTokens: 8, stopIds: [] }), prompts.map((prompt) => greedyByWholePasses(fused, prompt, 8)))
      fused.free()
      fused.parameters.free()
    }
  })

  test('rows end at their stop token, others go on; minNewTokens holds it off', () => {
    const free = generate(decoder, prompts, { maxNewTokens: 10, stopIds: [] })
    const stop = free[0][2]
    const ended = generate(decoder, prompts, { maxNewTokens: 10, stopIds: [stop] })
    assert.deepEqual(ended[0], free[0].slice(0, free[0].indexOf(stop) + 1))
    assert.deepEqual(ended[2], free[2].includes(stop) ? free[2].slice(0, free[2].indexOf(stop) + 1) : free[2])
    const held = generate(decoder, [prompts[0]], { maxNewTokens: 10, minNewTokens: 10, stopIds: [stop] })[0]
    assert.equal(held.length, 10)
    assert.ok(!held.includes(stop))
  })

  test('a long answer outgrows the first cache', () => {
    const results = generate(decoder, [[5]], { maxNewTokens: 300, stopIds: [] })
    assert.equal(results[0].length, 300)
  })

  test('streams token by token and says why a row ends', async () => {
    const seen: number[] = []
    for await (const { id, row, end } of generateTokens(decoder, [[5, 6]], { maxNewTokens: 4, stopIds: [] })) {
      seen.push(id)
      assert.equal(row, 0)
      assert.equal(end, seen.length === 4 ? 'length' : null)
    }
    assert.deepEqual([seen], generate(decoder, [[5, 6]], { maxNewTokens: 4, stopIds: [] }))
  })

  test('leaves no tensor behind, also when the caller leaves early', () => {
    generate(decoder, prompts, { maxNewTokens: 3 })
    const before = memory().liveTensors
    generate(decoder, prompts, { maxNewTokens: 20, temperature: 1, topP: 0.5 })
    for (const step of generateSteps(decoder, prompts, { maxNewTokens: 20 })) if (step.length > 0) break
    assert.equal(memory().liveTensors, before)
  })

  test('refuses what cannot be, by field', () => {
    const run = (prompt: number[], options: object): (() => unknown) => () => generate(decoder, [prompt], { maxNewTokens: 4, ...options })
    for (const [body, field] of [[run([], {}), 'prompt 0'], [run([320], {}), 'prompt 0'], [run([1], { maxNewTokens: -1 }), 'maxNewTokens'], [run([1], { minNewTokens: 5 }), 'minNewTokens'],
      [run([1], { temperature: -1 }), 'temperature'], [run([1], { topP: 0 }), 'topP'], [run([1], { topK: 1.5 }), 'topK']] as const) {
      assert.throws(body, { name: 'PlanError', code: 'generate.value', message: new RegExp(field) })
    }
  })
})

describe('sampling', () => {
  const drawn = (options: object, rows = prompts): number[][] => generate(decoder, rows, { maxNewTokens: 12, stopIds: [], temperature: 1, ...options })

  test('a seed fixes it, another changes it, neighbours do not', () => {
    assert.deepEqual(drawn({ seed: 3 }), drawn({ seed: 3 }))
    assert.notDeepEqual(drawn({ seed: 3 }), drawn({ seed: 4 }))
    assert.deepEqual(drawn({ seed: 3 }, prompts.slice(0, 1))[0], drawn({ seed: 3 })[0])
  })

  test('training\'s generator is not touched', () => {
    const before = getRngState()
    drawn({ seed: 1, topK: 5, topP: 0.9 })
    assert.deepEqual(getRngState(), before)
  })

  test('topK 1, a tiny topP and a tiny temperature are greedy', () => {
    const greedy = generate(decoder, prompts, { maxNewTokens: 12, stopIds: [] })
    for (const options of [{ topK: 1 }, { topP: 1e-6 }, { temperature: 1e-5 }]) assert.deepEqual(drawn(options), greedy)
  })

  test('first tokens come as often as their probability says, cut at topK and topP', () => {
    const { probabilities, order } = scope(() => {
      const batch = packBatch([{ inputIds: prompts[0] }]), context = decoder.context(batch, { mode: 'infer' })
      const logits = decoder.headLogits(decoder.hidden(batch, context), context, tensor([BigInt(prompts[0].length - 1)])).toArray()
      const weights = logits.map((l) => Math.exp(l / 0.7)), total = weights.reduce((a, b) => a + b)
      const p = weights.map((w) => w / total)
      return { probabilities: p, order: p.map((_, i) => i).sort((a, b) => p[b] - p[a]) }
    })
    const many = Array.from({ length: 2000 }, () => prompts[0])
    const counts = (options: object): Map<number, number> => {
      const found = new Map<number, number>()
      for (const [id] of generate(decoder, many, { maxNewTokens: 1, temperature: 0.7, seed: 9, ...options })) found.set(id, (found.get(id) ?? 0) + 1)
      return found
    }
    const close = (found: Map<number, number>, kept: number[]): void => {
      const total = kept.reduce((sum, id) => sum + probabilities[id], 0)
      assert.ok([...found.keys()].every((id) => kept.includes(id)))
      for (const id of kept.slice(0, 5)) {
        const p = probabilities[id] / total
        assert.ok(Math.abs((found.get(id) ?? 0) / 2000 - p) < 5 * Math.sqrt((p * (1 - p)) / 2000) + 1e-9, `${id}: ${found.get(id)} of 2000, probability ${p}`)
      }
    }
    close(counts({}), order)
    close(counts({ topK: 4 }), order.slice(0, 4))
    let mass = 0
    close(counts({ topP: 0.3 }), order.filter((id) => { const keep = mass < 0.3; mass += probabilities[id]; return keep }))
  })
})
