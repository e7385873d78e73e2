import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { scope } from 'fettle-native'
import { examples, loadTokenizer } from 'fettle'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { families } from 'fettle/dist/models/families'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { Decoder } from 'fettle/dist/models/decoder'
import { generate } from 'fettle/dist/train/generate'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

for (const { name } of families) {
  test(`a tiny ${name} loads, reads text and answers; its seed decides it`, async (t) => {
    const folder = temporaryFolder(t), at = (seed: number) => examples.tinyModel(name, path.join(folder, `seed-${seed}`), { seed })
    const model = at(1), bytes = fs.readFileSync(path.join(model, 'model.safetensors'))
    assert.ok(bytes.equals(fs.readFileSync(path.join(at(1), 'model.safetensors'))))
    assert.ok(!bytes.equals(fs.readFileSync(path.join(at(2), 'model.safetensors'))))
    const tokenizer = loadTokenizer(model), prompt = await tokenizer.encode('cat: é', { special: true })
    assert.equal(tokenizer.decode(prompt, { skipSpecial: true }), 'cat: é')
    const weights = openWeights(model), parameters = loadParameters(weights, { dtype: 'float32', device: 'cpu', train: false }), decoder = new Decoder(parameters, plainBlocks())
    t.after(() => { decoder.free(); parameters.free(); weights.close() })
    assert.equal(parameters.architecture.family, name)
    const [answer] = scope(() => generate(decoder, [prompt], { maxNewTokens: 3, minNewTokens: 3, temperature: 0 }))
    assert.equal(answer.length, 3)
  })
}

test('a family of another name is refused with the nearest', (t) => refusal(() => examples.tinyModel('blom', temporaryFolder(t)), 'plan.unknown', '"blom"', 'bloom'))
