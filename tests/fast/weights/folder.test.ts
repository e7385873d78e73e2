import * as assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { scope } from 'fettle-native'
import { writeModelFolder } from 'fettle/dist/export/folder'
import { openWeights } from 'fettle/dist/models/weights'
import { fixture } from '../../support/paths'
import { temporaryFolder, tinyModel } from '../../support/tiny'

test('a folder written from a folder is the same model, byte for byte', t => scope(() => {
  const source = tinyModel(path.join(temporaryFolder(t), 'source'))
  const target = path.join(temporaryFolder(t), 'target')
  const weights = openWeights(source)
  const tensors = new Map(weights.names().map(name => [name, weights.read(name)]))
  const files = writeModelFolder(target, { config: weights.config, tensors, tokenizerSource: weights.tokenizer(), generationConfig: weights.generationConfig })
  assert.deepEqual(files.sort(), readdirSync(target).sort())
  for (const file of ['model.safetensors', 'tokenizer.json', 'tokenizer_config.json']) {
    assert.ok(readFileSync(path.join(target, file)).equals(readFileSync(path.join(source, file))), file)
  }
  assert.deepEqual(openWeights(target).config, weights.config)
}))

test('a folder written from GGUF has the weights, the tokenizer and the chat template', t => scope(() => {
  const folder = temporaryFolder(t)
  writeFileSync(path.join(folder, 'vocab.json'), 'of another tokenizer')
  const weights = openWeights(fixture('gguf', 'mixed.gguf'))
  const tensors = new Map(weights.names().map(name => [name, weights.read(name, { dtype: 'bfloat16' })]))
  writeModelFolder(folder, { config: weights.config, tensors, tokenizerSource: weights.tokenizer() })
  assert.deepEqual(readdirSync(folder).sort(), ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
  const back = openWeights(folder)
  assert.deepEqual(back.names().sort(), weights.names().sort())
  for (const [name, tensor] of tensors) assert.deepEqual(back.read(name).toBytes(), tensor.toBytes(), name)
  assert.deepEqual(back.config, { ...weights.config, torch_dtype: 'bfloat16' })
  assert.deepEqual(back.generationConfig, { _from_model_config: true, bos_token_id: 0, eos_token_id: [1, 4], pad_token_id: 2 })
  const json = (name: string) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'))
  assert.equal(json('tokenizer.json').model.vocab['</s>'], 1)
  const told = json('tokenizer_config.json')
  assert.deepEqual([told.bos_token, told.eos_token, told.pad_token, told.model_max_length], ['<s>', '</s>', '<pad>', 512])
  assert.ok(told.chat_template.includes('é'))
}))
