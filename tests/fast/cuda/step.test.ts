import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { fusedAdamW, ops, scope, setThreads, tensor, type Tensor } from 'fettle-native'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { packBatch, type Batch } from 'fettle/dist/models/batch'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { AdamW } from 'fettle/dist/train/optimizer'
import { stepOnDevice, trainStep, walkAll, type StepOptions } from 'fettle/dist/train/step'
import { walk } from 'fettle/dist/train/walk'
import { fixture } from '../../support/paths'
import { randomRows, trainerPlan } from '../../support/trainer'
import { difference } from '../kernels/support'

before(() => setThreads(1))

interface Setting { readonly decoder: Decoder; readonly optimizer: AdamW; readonly batches: readonly Batch[]; free(): void }

function setting(seed = 1): Setting {
  const parameters = loadParameters(openWeights(fixture('golden', 'llama-v2-gqa')), { dtype: 'float32', device: 'cpu', train: false })
  attachLora(parameters, loraConfig({ rank: 4, alpha: 8 }), { seed: 3 })
  const decoder = new Decoder(parameters, plainBlocks()), optimizer = new AdamW(parameters.flat!, { ...trainerPlan({}).optimizer, weightDecay: 0.1 })
  decoder.weightsChanged()
  return { decoder, optimizer, batches: [packBatch(randomRows(3, seed)), packBatch(randomRows(5, seed + 1))], free: () => { optimizer.free(); decoder.free(); parameters.free() } }
}

const usual: StepOptions = { learningRate: 1e-2, maxGradNorm: 1, dropout: false, recompute: false }
const supervisedOf = (batches: readonly Batch[]): number => batches.reduce((sum, { targets }) => sum + targets!.count, 0)

/** Masters after `steps`, and what the steps said. */
function train(kind: 'waiting' | 'unseen', steps: number, options: StepOptions): { masters: Tensor; said: object[]; updates: number } {
  const { decoder, optimizer, batches, free } = setting(), supervised = supervisedOf(batches), { lossScale = 1 } = options
  const said = Array.from({ length: steps }, () => {
    if (kind === 'waiting') {
      const { loss, gradNorm, accuracy, outcome } = trainStep(decoder, optimizer, batches, options)
      return { loss, gradNorm, accuracy, outcome }
    }
    decoder.parameters.zeroGrad()
    let meanwhile = 0
    const result = stepOnDevice(decoder, optimizer, batches, { scale: lossScale / supervised, recompute: false, dropout: false, training: true }, supervised, { ...options, meanwhile: () => { meanwhile++ } })
    assert.equal(meanwhile, 1)
    return result
  })
  const masters = ops.clone(decoder.parameters.flat!.master), updates = optimizer.updates
  free()
  return { masters, said, updates }
}

describe('a step that decides on the device does what one does that waits', () => {
  for (const [name, options] of [['clipped', usual], ['not clipped', { ...usual, maxGradNorm: 0 }], ['a loss scale', { ...usual, lossScale: 1024 }], ['a norm below the limit', { ...usual, maxGradNorm: 1e4 }]] as const)
    test(name, () => scope(() => {
      const waiting = train('waiting', 4, options), unseen = train('unseen', 4, options)
      assert.ok(difference(unseen.masters, waiting.masters) < 1e-6, `masters differ by ${difference(unseen.masters, waiting.masters)}`)
      assert.equal(unseen.updates, 4)
      unseen.said.forEach((step, i) => {
        const { loss, outcome } = step as { loss: number; outcome: string }, expected = waiting.said[i] as { loss: number; outcome: string }
        assert.ok(Math.abs(loss / expected.loss - 1) < 1e-6 && outcome === expected.outcome, `step ${i}: ${loss} ${outcome}`)
      })
    }))

  for (const [name, lossScale, outcome] of [['a gradient that is not finite', undefined, 'not-finite'], ['one that overflows under a loss scale', 1, 'overflow']] as const)
    test(`${name} updates nothing`, () => scope(() => {
      const { decoder, optimizer, batches, free } = setting(), { flat } = decoder.parameters, before = ops.clone(flat!.master)
      // What the step adds to stays infinite.
      ops.fill_(ops.narrow(flat!.grad, 0, 5, 1), Infinity)
      const supervised = supervisedOf(batches), result = stepOnDevice(decoder, optimizer, batches, { scale: 1 / supervised }, supervised, { ...usual, lossScale })
      assert.deepEqual([result.outcome, optimizer.updates, ops.sum(optimizer.expAvg).item()], [outcome, 0, 0])
      assert.equal(difference(flat!.master, before), 0)
      free()
    }))
})

test('sums of micro-batches are those of their losses as doubles', () => scope(() => {
  const { decoder, batches, free } = setting(), options = { scale: 0.01 }
  const each = batches.map((batch) => walk(decoder, batch, options)), { lossSum, correct } = walkAll(decoder, batches, options)
  assert.equal(lossSum, each.reduce((sum, result) => sum + result.lossSum.item(), 0))
  assert.equal(correct, each.reduce((sum, result) => sum + result.correct.item(), 0))
  free()
}))

test('fused AdamW divides by a scale of its own and leaves all as it is where something is not finite', () => scope(() => {
  const run = (given: object, grad: number): number[] => {
    const [params, grads] = [[tensor([1, 2])], [tensor([grad, 2 * grad])]], zeros = () => [ops.zeros([2])]
    fusedAdamW({ params, grads, expAvgs: zeros(), expAvgSqs: zeros(), steps: [ops.zeros([])], lr: 0.1, beta1: 0.9, beta2: 0.999, weightDecay: 0, eps: 1e-2, ...given })
    return params[0].toArray() as number[]
  }
  const scalar = (x: number): Tensor => ops.full([], x, { dtype: 'float32' })
  run({ gradScale: scalar(4) }, 0.4).forEach((x, i) => assert.ok(Math.abs(x - run({}, 0.1)[i]) < 1e-7))
  assert.deepEqual(run({ foundInf: scalar(1) }, 0.4), [1, 2])
  assert.deepEqual(run({ foundInf: scalar(0) }, 0.4), run({}, 0.4))
}))
