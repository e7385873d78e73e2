import * as assert from 'node:assert/strict'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { scope } from 'fettle-native'
import { readSafetensors, writeSafetensors } from 'fettle/dist/models/weights'
import { parseMesh } from 'fettle/dist/parallel/mesh/parse'
import { traceOnMesh } from 'fettle/dist/parallel/trace'
import { inputsOf } from '../../support/family'
import { goldenCase, gradientError, largestDifference, need } from '../../support/golden'
import { temporaryFolder } from '../../support/tiny'

/** Each family with the reference's own weights and batch; meshes of two take turns over data axes. */
const cases: Readonly<Record<string, readonly string[]>> = {
  'llama-v2-gqa': ['tp=2', 'pp=2', 'sharding=2:stage3'], bloom: ['tp=2', 'pp=2', 'dp=2'], 'opt-350m-style': ['tp=2', 'pp=2', 'sharding=2:stage2'], 'opt-125m-style': ['tp=2', 'pp=2'],
  'qwen-7b': ['tp=2', 'pp=2', 'sharding=2:stage1'], 'chatglm-6b': ['tp=2', 'pp=2', 'dp=2'], 'chatglm2-6b': ['tp=2', 'pp=2', 'sharding=2:stage3'],
}

for (const [name, meshes] of Object.entries(cases)) describe(`${name} on ranks is what its reference computes`, () => {
  for (const mesh of meshes) test(`logits, loss and gradients on ${mesh}`, async (t) => {
    const folder = temporaryFolder(t), inputs = path.join(folder, 'in.safetensors'), out = path.join(folder, 'out.safetensors'), blocks = meshes.indexOf(mesh) % 2 === 0 ? 'auto' : 'plain'
    const grads = scope(() => {
      const { io } = goldenCase(name)
      writeSafetensors(inputs, inputsOf(io, 'batch'))
      return [...io.keys()].filter((key) => key.startsWith('grad.')).map((key) => key.slice('grad.'.length))
    })
    await traceOnMesh(parseMesh(mesh), { inputs, options: { model: goldenCase(name).folder, grads: 'all', dtype: 'fp32' }, blocks }, out)
    scope(() => {
      const { io } = goldenCase(name), result = readSafetensors(out), logits = largestDifference(need(result, 'logits'), need(io, 'batch.logits')), loss = largestDifference(need(result, 'loss'), need(io, 'batch.loss'))
      assert.ok(logits <= 1e-4, `logits are off by ${logits}`)
      assert.ok(loss <= 1e-5, `loss is off by ${loss}`)
      // A tied head's gradient is part of the embedding's.
      const own = grads.filter((grad) => result.has(`grad.${grad}`)), worst = gradientError(own.map((grad) => ({ name: grad, seen: need(result, `grad.${grad}`), reference: need(io, `grad.${grad}`) })))
      assert.ok(own.length > 5)
      assert.ok(worst.error <= 1e-4, `${worst.name}: ${worst.error}`)
    })
  })
})
