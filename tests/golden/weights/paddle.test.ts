import * as assert from 'node:assert/strict'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { scope } from 'fettle-native'
import { convertModel } from 'fettle/dist/export/convert'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { openWeights, readSafetensors } from 'fettle/dist/models/weights'
import { trace } from 'fettle/dist/train/trace'
import { largestDifference, need } from '../../support/golden'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

const made = (name: string): string => fixture('paddle', name)
const names = ['llama', 'llama-joined', 'llama-one-group', 'bloom', 'opt', 'qwen', 'chatglm', 'chatglm2']

function sameWeights(folder: string, reference: string): void {
  scope(() => {
    const seen = openWeights(folder), expected = openWeights(reference)
    // A tied head may be there once more.
    assert.deepEqual(seen.names().filter((name) => name !== 'lm_head.weight').sort(), expected.names().filter((name) => name !== 'lm_head.weight').sort())
    for (const name of expected.names()) {
      assert.deepEqual(seen.info(name), expected.info(name), name)
      assert.ok(Buffer.from(seen.read(name).toBytes()).equals(Buffer.from(expected.read(name).toBytes())), name)
    }
    seen.close()
    expected.close()
  })
}

function computes(folder: string, reference: string): void {
  scope(() => {
    const io = readSafetensors(path.join(made(reference), 'io.safetensors'))
    const inputs = new Map([...io].filter(([key]) => key !== 'logits'))
    const result = trace({ model: folder, inputs, blocks: plainBlocks })
    assert.ok(largestDifference(need(result, 'logits'), need(io, 'logits')) <= 1e-4)
  })
}

describe("a model in PaddleNLP's layout", () => {
  for (const name of names) {
    test(`${name}: computes what PaddleNLP computes`, () => computes(made(name), name))

    test(`${name}: converted, it is the same model`, (t) => {
      const output = temporaryFolder(t)
      convertModel({ model: made(name), output })
      assert.equal(openWeights(output).kind, 'safetensors')
      assert.ok(!('paddlenlp_version' in openWeights(output).config))
      sameWeights(output, made(name))
    })

    if (name === 'chatglm2') continue
    test(`${name}: two tensor-parallel shards are the whole`, () => {
      sameWeights(made(`${name}-tp2`), made(name))
      computes(made(`${name}-tp2`), name)
    })
  }

  for (const name of ['llama', 'chatglm2']) test(`${name}: safetensors under PaddleNLP's names are told from published ones`, () => sameWeights(made(`${name}-safetensors`), made(name)))

  test('a missing rank and a shard of another model are refused by name', (t) => {
    const folder = temporaryFolder(t)
    cpSync(made('llama-tp2'), folder, { recursive: true })
    rmSync(path.join(folder, 'model_state.tp00.pdparams'))
    refusal(() => openWeights(folder), 'model.paddle', 'ranks 1', '0 is missing')
    cpSync(path.join(made('llama'), 'model_state.pdparams'), path.join(folder, 'model_state.tp00.pdparams'))
    const weights = openWeights(folder)
    refusal(() => scope(() => weights.read('model.layers.0.mlp.gate_proj.weight')), 'model.paddle', 'model.layers.0.mlp.gate_proj.weight')
  })

  test('a family that PaddleNLP names otherwise is refused with those that are known', (t) => {
    const folder = temporaryFolder(t)
    cpSync(made('llama'), folder, { recursive: true })
    const config = path.join(folder, 'config.json')
    writeFileSync(config, readFileSync(config, 'utf8').replace('"llama"', '"ernie"'))
    refusal(() => openWeights(folder), 'model.family', 'ernie', 'chatglm_v2')
  })
})
