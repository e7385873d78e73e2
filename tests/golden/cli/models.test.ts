import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { families } from 'fettle/dist/models/families'
import { fixture, repoRoot } from '../../support/paths'
import { largestDifference, readPlain, relativeError, writePlain, type PlainTensor } from '../../support/safetensors'
import { tinyModel } from '../../support/tiny'

const bin = path.join(repoRoot, 'sdk', 'bin', 'fettle.js')
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-models-'))
process.on('exit', () => fs.rmSync(temporary, { recursive: true, force: true }))
const at = (name: string) => path.join(temporary, name)
const fettle = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', env: { ...process.env, OMP_NUM_THREADS: '1' } })
  assert.equal(status, 0, stderr)
  return { stdout, stderr }
}
const golden = (name: string, ...rest: string[]) => fixture('golden', name, ...rest)
const llama = golden('llama-v2-gqa')
const reference = readPlain(golden('llama-v2-gqa', 'io.safetensors'))
const whole = (tensor: PlainTensor) => ({ ...tensor, dtype: 'I64' as const })

test('generate: greedy ids are those of the reference, without a tokenizer', () => {
  const ids = reference.get('generate.prompt_ids')!.values.join(',')
  const { stdout, stderr } = fettle('generate', llama, '--ids', ids, '--max-new-tokens', '16', '--min-new-tokens', '16', '--temperature', '0', '--json')
  assert.deepEqual(JSON.parse(stdout), { ids: reference.get('generate.new_ids')!.values, text: null })
  assert.equal(stderr, '')
})

test('generate: text in and out, drawn again by its seed, ended by a stop text', () => {
  const model = tinyModel(at('tiny'))
  const draw = (...args: string[]) => JSON.parse(fettle('generate', model, '--prompt', 'abc', '--temperature', '1', '--max-new-tokens', '12', '--json', ...args).stdout)
  const first = draw('--seed', '5')
  assert.deepEqual(draw('--seed', '5'), first)
  assert.notDeepEqual(draw('--seed', '6'), first)
  assert.equal(typeof first.text, 'string')
  assert.equal(fettle('generate', model, '--prompt', 'abc', '--temperature', '1', '--max-new-tokens', '12', '--seed', '5').stdout, `${first.text}\n`)
  const stop = [...first.text as string].at(2)!
  assert.equal(draw('--seed', '5', '--stop', stop).text, (first.text as string).split(stop)[0])
})

test('generate --chat: an answer ends with the token that the template puts after answers', () => {
  const model = tinyModel(at('chat')), files = { tokenizer: path.join(model, 'tokenizer.json'), config: path.join(model, 'tokenizer_config.json') }
  const edit = (file: string, change: (json: any) => void) => {
    const json = JSON.parse(fs.readFileSync(file, 'utf8'))
    change(json)
    fs.writeFileSync(file, JSON.stringify(json))
  }
  const closing = (end: string) => edit(files.config, (json) => { json.chat_template = `{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}${end}{% endif %}{% endfor %}` })
  const draw = (flag: string) => JSON.parse(fettle('generate', model, flag, 'abc', '--temperature', '1', '--max-new-tokens', '12', '--seed', '5', '--json').stdout).ids as number[]
  closing('</s>')
  const free = draw('--chat'), end = free[3]
  edit(files.tokenizer, (json) => {
    const content = Object.keys(json.model.vocab).find((token) => json.model.vocab[token] === end)!
    json.added_tokens.push({ id: end, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })
    closing(content)
  })
  assert.deepEqual(draw('--chat'), free.slice(0, free.indexOf(end) + 1))
  assert.deepEqual(draw('--prompt'), free)
})

test('tokenize: ids with and without special tokens', () => {
  const model = tinyModel(at('tiny'))
  fs.writeFileSync(at('strings.json'), JSON.stringify(['ab', '', 'é🙂']))
  const [ab, empty, unicode] = JSON.parse(fettle('tokenize', model, '--json', at('strings.json')).stdout)
  assert.deepEqual([ab.length, empty, unicode.length], [2, [], 6])
  assert.equal(JSON.parse(fettle('tokenize', model, '--json', at('strings.json'), '--special').stdout).length, 3)
})

test('trace: logits, loss and gradients of the reference', () => {
  const name = (key: string) => whole(reference.get(`batch.${key}`)!)
  writePlain(at('in.safetensors'), { input_ids: name('input_ids'), attention_mask: name('attention_mask'), labels: name('labels') })
  const { stdout } = fettle('trace', llama, '--inputs', at('in.safetensors'), '--out', at('out.safetensors'), '--grads', 'all', '--json')
  const traced = readPlain(at('out.safetensors'))
  const mask = name('attention_mask').values
  const vocab = traced.get('logits')!.shape[2]
  const seen = (values: readonly number[]) => values.filter((_, i) => mask[Math.floor(i / vocab)] !== 0)
  assert.ok(largestDifference(seen(traced.get('logits')!.values), seen(reference.get('batch.logits')!.values)) <= 1e-4)
  assert.ok(Math.abs(traced.get('loss')!.values[0] - reference.get('batch.loss')!.values[0]) <= 1e-5)
  assert.ok(Math.abs(JSON.parse(stdout).loss - reference.get('batch.loss')!.values[0]) <= 1e-5)
  const grads = [...reference.keys()].filter((key) => key.startsWith('grad.'))
  for (const key of grads) assert.ok(relativeError(traced.get(key)!.values, reference.get(key)!.values) <= 1e-4, key)
})

test('trace: labels that supervise nothing are a note, and usage faults exit with 2', () => {
  const ids = whole(reference.get('batch.input_ids')!)
  const files = ['--inputs', at('bare.safetensors'), '--out', at('bare-out.safetensors')]
  writePlain(at('bare.safetensors'), { input_ids: ids, labels: { ...ids, values: ids.values.map(() => -100) } })
  const { stdout, stderr } = fettle('trace', llama, ...files, '--json')
  assert.match(stderr, /^note: the labels supervise no token/)
  assert.equal(JSON.parse(stdout).loss, null)
  assert.deepEqual([...readPlain(at('bare-out.safetensors')).keys()], ['logits'])
  writePlain(at('bare.safetensors'), { input_ids: ids })
  for (const flags of [['--grads', 'all'], ['--steps', '1']]) assert.equal(spawnSync(process.execPath, [bin, 'trace', llama, ...files, ...flags]).status, 2)
})

test('trace: three AdamW steps of an adapter, and the merged adapter', () => {
  const lora = golden('lora-llama')
  const expected = readPlain(path.join(lora, 'io.safetensors'))

  writePlain(at('lora.safetensors'), { input_ids: whole(expected.get('input_ids')!), attention_mask: whole(expected.get('attention_mask')!), labels: whole(expected.get('labels')!) })
  fettle('trace', llama, '--inputs', at('lora.safetensors'), '--out', at('merged.safetensors'), '--adapter', lora, '--merge')
  assert.ok(largestDifference(masked(readPlain(at('merged.safetensors')).get('logits')!, expected), masked(expected.get('merged.logits')!, expected)) <= 1e-4)
  fettle('trace', llama, '--inputs', at('lora.safetensors'), '--out', at('steps.safetensors'), '--adapter', lora, '--grads', 'all', '--steps', '3', '--lr', '1e-2', '--weight-decay', '0')
  const traced = readPlain(at('steps.safetensors'))
  assert.equal(traced.get('losses')!.values.length, 3)
  const grads = [...traced.keys()].filter((key) => key.startsWith('grad.'))
  assert.ok(grads.length > 0 && grads.every((key) => /^grad\.base_model\.model\..*\.lora_[AB]\.weight$/.test(key)), grads[0])
  for (const key of grads) assert.ok(relativeError(traced.get(key)!.values, expected.get(key.replace(/\.weight$/, '.default.weight'))!.values) <= 1e-4, key)
})

function masked(logits: PlainTensor, expected: Map<string, PlainTensor>): number[] {
  const mask = expected.get('attention_mask')!.values
  return logits.values.filter((_, i) => mask[Math.floor(i / logits.shape[2])] !== 0)
}

test('merge-lora: the merged model answers as base and adapter together, under the names of both tools', () => {
  const lora = golden('lora-llama')
  const merged = JSON.parse(fettle('merge-lora', '--model_name_or_path', llama, '--lora_path', lora, '--merge_model_path', at('merged'), '--device', 'gpu', '--json').stdout)
  assert.deepEqual(merged.output, at('merged'))
  assert.ok(merged.files.includes('model.safetensors') && fs.existsSync(at('merged/config.json')))
  const answer = (...args: string[]) => JSON.parse(fettle('generate', ...args, '--ids', '5,17,9', '--max-new-tokens', '12', '--json').stdout).ids
  assert.deepEqual(answer(at('merged')), answer(llama, '--adapter', lora))
  assert.match(fettle('merge-lora', llama, lora, at('again')).stderr, /merged model in/)
  assert.deepEqual(fs.readFileSync(at('again/model.safetensors')), fs.readFileSync(at('merged/model.safetensors')))
})

test('plain and fused blocks answer alike', () => {
  const answer = (...args: string[]) => JSON.parse(fettle('generate', llama, '--ids', '5,17,9', '--max-new-tokens', '12', '--json', ...args).stdout).ids
  assert.deepEqual(answer('--blocks', 'plain'), answer())
})

test('convert: pickled weights become safetensors, and broken, hostile or missing ones an error', () => {
  const model = at('pickled'), output = at('converted')
  fs.mkdirSync(model)
  fs.copyFileSync(fixture('pickle', 'zip.bin'), path.join(model, 'pytorch_model.bin'))
  fs.writeFileSync(path.join(model, 'config.json'), '{"model_type":"llama"}')
  const { files } = JSON.parse(fettle('convert', model, '--out', output, '--max-shard-size', '5GB', '--json').stdout) as { files: string[] }
  assert.deepEqual(files, ['model.safetensors', 'config.json'])
  const seen = readPlain(path.join(output, 'model.safetensors')), expected = readPlain(fixture('pickle', 'torch.safetensors'))
  assert.deepEqual([...seen.keys()].sort(), [...expected.keys()].sort())
  for (const [name, tensor] of expected) assert.deepEqual(seen.get(name), tensor, name)
  const refused = (words: RegExp, ...args: string[]): void => {
    const { status, stderr } = spawnSync(process.execPath, [bin, 'convert', ...args], { encoding: 'utf8' })
    assert.notEqual(status, 0)
    assert.match(stderr, words)
  }
  refused(/expected --out DIR/, model)
  refused(/expected a size for --max-shard-size, got "5 apples"/, model, '--out', output, '--max-shard-size', '5 apples')
  refused(/expected fp32, bf16, fp16 for --dtype/, model, '--out', output, '--dtype', 'int8')
  refused(/a folder of its own for the converted model/, model, '--out', model)
  fs.writeFileSync(path.join(model, 'pytorch_model.bin'), Buffer.from('\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.', 'latin1'))
  refused(/names posix\.system, which holds no tensor and may run code/, model, '--out', output)
})

test('models: every family with published checkpoints and memory, one family with its layers, an unknown one with the nearest', () => {
  const all = JSON.parse(fettle('models', '--json').stdout) as { family: string; methods: string[]; models: { repository: string; parameters: number; loraMemory: number; sftMemory: number }[] }[]
  assert.deepEqual(all.map(({ family }) => family), families.map(({ name }) => name))
  for (const { methods, models } of all) {
    assert.ok(methods.includes('sft') && methods.includes('lora'))
    assert.ok(models.length > 0 && models.every(({ parameters, loraMemory, sftMemory }) => loraMemory > 2 * parameters && sftMemory > 18 * parameters && loraMemory < 4 * parameters + 2e9))
  }
  assert.match(fettle('models').stdout, /^chatglm2 +THUDM\/chatglm2-6b +6\.24B +14 GiB +107 GiB$/m)
  const one = fettle('models', 'opt').stdout
  assert.match(one, /adapters +on q_proj, k_proj, v_proj, out_proj, fc1, fc2, project_in, project_out$/m)
  assert.match(one, /facebook\/opt-350m.*pytorch_model\.bin/)
  const { status, stderr } = spawnSync(process.execPath, [bin, 'models', 'lama'], { encoding: 'utf8' })
  assert.equal(status, 2)
  assert.match(stderr, /got "lama"\n +try llama/)
})
