import * as assert from 'node:assert/strict'
import { cpSync, existsSync, readdirSync } from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { scope } from 'fettle-native'
import { convertModel } from 'fettle/dist/export/convert'
import { exportModel } from 'fettle/dist/export/folder'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

const models = readdirSync(fixture('golden')).filter((name) => existsSync(fixture('golden', name, 'model.safetensors')))

function sameBytes(folder: string, reference: string): void {
  const seen = openWeights(folder), expected = openWeights(reference)
  assert.deepEqual(seen.names().sort(), expected.names().sort())
  for (const name of expected.names()) {
    scope(() => {
      assert.deepEqual(seen.info(name), expected.info(name), name)
      assert.ok(Buffer.from(seen.read(name).toBytes()).equals(Buffer.from(expected.read(name).toBytes())), name)
    })
  }
  seen.close()
  expected.close()
}

for (const name of models) {
  test(`${name}: loaded and saved, or converted in shards, every weight is the same to the byte`, (t) => {
    const folder = temporaryFolder(t), model = fixture('golden', name)
    const weights = openWeights(model), parameters = loadParameters(weights, { dtype: 'float32', device: 'cpu', train: false })
    exportModel(parameters, model, path.join(folder, 'saved'))
    parameters.free()
    weights.close()
    sameBytes(path.join(folder, 'saved'), model)
    const files = convertModel({ model, output: path.join(folder, 'converted'), maxShardBytes: 50_000 })
    assert.ok(files.includes('model.safetensors.index.json'), files.join())
    sameBytes(path.join(folder, 'converted'), model)
    assert.deepEqual(openWeights(path.join(folder, 'converted')).config, openWeights(path.join(folder, 'saved')).config)
  })
}

test('a conversion changes number types where it is asked to, and never its own input', (t) => {
  const model = path.join(temporaryFolder(t), 'model')
  cpSync(fixture('golden', 'opt-125m-style'), model, { recursive: true })
  refusal(() => convertModel({ model, output: model }), 'output.folder', 'a folder of its own', model)
  for (const [dtype, stored] of [['bf16', 'bfloat16'], ['fp16', 'float16'], ['fp32', 'float32']] as const) {
    const output = path.join(temporaryFolder(t), dtype)
    convertModel({ model, output, dtype })
    const weights = openWeights(output)
    assert.ok(weights.names().every((name) => weights.info(name).dtype === stored))
    assert.equal(weights.config.dtype ?? weights.config.torch_dtype, stored)
    weights.close()
  }
})
