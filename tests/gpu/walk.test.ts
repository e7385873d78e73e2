import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { noGrad, ops, scope, type Tensor } from 'fettle-native'
import { sft, type Sft, type StartedEvent, type StepEvent } from 'fettle'
import { attachLora } from 'fettle/dist/adapters/lora'
import { loraConfig } from 'fettle/dist/adapters/lora-config'
import { packBatch } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { Decoder } from 'fettle/dist/models/decoder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { cudaRecorder, WalkGraphs } from 'fettle/dist/train/graphs'
import { walk, type WalkResult } from 'fettle/dist/train/walk'
import { difference } from '../fast/kernels/support'
import { fixture } from '../support/paths'
import { temporaryFolder, tinyData, tinyModel } from '../support/tiny'
import { randomRows } from '../support/trainer'
import { gpu, onCpu, skip } from './support'

type ComputeType = 'float32' | 'bfloat16' | 'float16'

function open(device: string, dtype: ComputeType, blocks: 'auto' | 'plain', model = 'llama-v2-gqa'): Decoder {
  const parameters = loadParameters(openWeights(fixture('golden', model)), { dtype, device, train: false })
  attachLora(parameters, loraConfig({ rank: 4, alpha: 8 }), { seed: 3 })
  for (const { master } of parameters.flat!.weights) ops.add_(master!, 0.02)
  const decoder = new Decoder(parameters, chooseBlocks({ device, dtype, blocks }))
  decoder.weightsChanged()
  return decoder
}

/** Gradient and losses of micro-batches, on the CPU. */
function through(decoder: Decoder, take: (batch: ReturnType<typeof packBatch>) => WalkResult | null = () => null): { grad: Tensor; losses: number[] } {
  const losses = [1, 2, 3, 4, 5].map((seed) => {
    const batch = packBatch(randomRows(4, seed), decoder.parameters.device)
    return (take(batch) ?? walk(decoder, batch, { scale: 1 })).lossSum.item()
  })
  return { grad: onCpu(ops.clone(decoder.parameters.flat!.grad)), losses }
}

function close(actual: number[], expected: number[], tolerance: number): void {
  actual.forEach((loss, i) => assert.ok(Math.abs(loss / expected[i] - 1) <= tolerance, `loss ${i}: ${loss}, expected ${expected[i]}`))
}

for (const [dtype, tolerance] of [['float32', 1e-3], ['bfloat16', 0.05], ['float16', 0.02]] as const)
  test(`a walk on the GPU equals the plain form's on the CPU: ${dtype}`, { skip }, () => noGrad(() => scope(() => {
    const expected = through(open('cpu', 'float32', 'plain')), seen = through(open(gpu, dtype, 'auto'))
    close(seen.losses, expected.losses, tolerance)
    assert.ok(difference(seen.grad, expected.grad) < 4 * tolerance, `gradient differs by ${difference(seen.grad, expected.grad)}`)
  })))

for (const dtype of ['float32', 'bfloat16'] as const)
  test(`micro-batches from graphs equal those without: ${dtype}`, { skip }, () => noGrad(() => scope(() => {
    const decoder = open(gpu, dtype, 'auto'), graphs = new WalkGraphs(decoder, cudaRecorder(gpu))
    const expected = through(decoder)
    decoder.parameters.zeroGrad()
    const seen = through(decoder, (batch) => graphs.walk(batch, { scale: 1 }))
    assert.ok(graphs.count >= 1, 'none was recorded')
    close(seen.losses, expected.losses, dtype === 'float32' ? 1e-5 : 1e-2)
    assert.ok(difference(seen.grad, expected.grad) < (dtype === 'float32' ? 1e-4 : 0.03), `gradient differs by ${difference(seen.grad, expected.grad)}`)
    graphs.free()
  })))

test('a run on the GPU learns what one on the CPU does, with graphs too, and says its form', { skip }, async (t) => {
  const folder = temporaryFolder(t), model = tinyModel(path.join(folder, 'model')), data = tinyData(path.join(folder, 'data'), 24)
  const events = async (output: string, made: (builder: Sft) => Sft) => {
    const run = await made(sft(model).data(data, { maxLength: 64, srcLength: 32, template: 'none' }).batch(4).accumulate(2).steps(8).output(path.join(folder, output)).save({ each: 'never' })).start({ board: false })
    await run.done
    await run.close()
    return run.events
  }
  const losses = (list: Awaited<ReturnType<typeof events>>): number[] => list.filter((event): event is StepEvent => event.type === 'step').map(({ loss }) => loss)
  const expected = losses(await events('cpu', (builder) => builder.device('cpu')))
  for (const [name, made] of [['gpu', (b: Sft) => b.device('cuda')], ['graphs', (b: Sft) => b.device('cuda').cudaGraphs()]] as const) {
    const seen = await events(name, made)
    assert.equal(seen.find((event): event is StartedEvent => event.type === 'started')?.blocks, 'cuda')
    close(losses(seen), expected, 1e-3)
  }
})
