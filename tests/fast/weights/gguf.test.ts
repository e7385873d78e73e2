import * as assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { scope } from 'fettle-native'
import { openWeights, readGguf, type GgufTokenizerMaterial } from 'fettle/dist/models/weights'
import { shortest } from 'fettle/dist/models/weights/gguf-config'
import { llama3Scaling } from 'fettle/dist/models/weights/gguf-rope'
import { rounding } from 'fettle/dist/models/weights/rounding'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

const mixed = fixture('gguf', 'mixed.gguf')
const expected = JSON.parse(readFileSync(fixture('gguf', 'expected.json'), 'utf8')) as Record<string, { type: string; shape: number[]; fp32: string; bf16: string }>
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

test('every quantisation gives the reference weights bit for bit, in Hugging Face order', () => {
  const weights = openWeights(mixed)
  assert.deepEqual(weights.names().sort(), Object.keys(expected).sort())
  for (const [name, { type, shape, fp32, bf16 }] of Object.entries(expected)) {
    scope(() => {
      assert.deepEqual([...weights.info(name).shape], shape)
      const full = weights.read(name, { dtype: 'float32' })
      assert.deepEqual([full.dtype, [...full.shape]], ['float32', shape])
      assert.equal(sha256(full.toBytes()), fp32, `${name} (${type}) as fp32`)
      assert.equal(sha256(weights.read(name, { dtype: 'bfloat16' }).toBytes()), bf16, `${name} (${type}) as bfloat16`)
    })
  }
  assert.deepEqual([...new Set(Object.values(expected).map(e => e.type))].sort(), ['BF16', 'F16', 'F32', 'Q4_0', 'Q4_1', 'Q4_K', 'Q5_0', 'Q5_1', 'Q5_K', 'Q6_K', 'Q8_0'])
})

test('number types: own by default, any other when asked', () => scope(() => {
  const weights = openWeights(mixed)
  const kinds = Object.entries(expected).map(([name, { type }]) => [type, weights.info(name).dtype, weights.read(name).dtype])
  for (const [type, told, given] of kinds) {
    assert.equal(told, given)
    assert.equal(told, type === 'F16' ? 'float16' : type === 'BF16' ? 'bfloat16' : 'float32')
  }
  assert.equal(weights.read('lm_head.weight', { dtype: 'float16' }).dtype, 'float16')
  refusal(() => weights.read('lm_head.bias'), 'model.tensor', 'no weight "lm_head.bias"')
}))

test('metadata of all types', () => {
  const { metadata, version } = readGguf(mixed)
  assert.equal(version, 3)
  const values = { u8: 200, i8: -5, u16: 60000, i16: -30000, u32: 4e9, i32: -2e9, f32: 0.25, u64: 2n ** 63n, i64: -(2 ** 40), f64: 0.1, bool: true, string: 'naïve 🙂' }
  for (const [name, value] of Object.entries(values)) assert.equal(metadata.get(`test.${name}`), value)
  assert.deepEqual(metadata.get('test.numbers'), [1, 2, 3])
  assert.deepEqual(metadata.get('test.strings'), ['a', '', 'ß'])
  assert.deepEqual(metadata.get('test.nested'), [[1, 2], [3]])
})

test('configuration and tokenizer material', () => {
  const weights = openWeights(mixed)
  const { config } = weights
  const told = {
    model_type: 'llama', hidden_size: 256, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 16,
    max_position_embeddings: 512, rms_norm_eps: 1e-5, rope_theta: 500000, vocab_size: 40, attention_bias: true, mlp_bias: false, tie_word_embeddings: false,
    bos_token_id: 0, eos_token_id: [1, 4], pad_token_id: 2,
    rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 },
  }
  for (const [key, value] of Object.entries(told)) assert.deepEqual(config[key], value, key)
  const material = weights.tokenizer() as GgufTokenizerMaterial
  assert.deepEqual([material.kind, material.model, material.pre, material.tokens.length, material.merges], ['gguf', 'gpt2', 'smollm', 40, ['a a', 'b b']])
  assert.deepEqual(material.ids, { bos: 0, eos: 1, padding: 2, eot: 4, unknown: undefined, separator: undefined, mask: undefined, eom: undefined })
  assert.equal(material.addBos, true)
  assert.ok(material.chatTemplate?.includes('é'))
})

test('version 2 reads as version 3 does', t => {
  const target = altered(t, bytes => bytes.writeUInt32LE(2, 4))
  assert.equal(openWeights(target).names().length, Object.keys(expected).length)
})

test('broken files are refused with what was seen', t => {
  const code = 'model.gguf'
  const whole = readFileSync(mixed)
  refusal(() => readGguf(path.join(temporaryFolder(t), 'none.gguf')), code, 'ENOENT')
  for (const length of [0, 3, 30, 500, 2000, 5000, whole.length - 64]) {
    const target = path.join(temporaryFolder(t), 'cut.gguf')
    writeFileSync(target, whole.subarray(0, length))
    refusal(() => readGguf(target), code, '; download or copy the file again')
  }
  refusal(() => readGguf(altered(t, b => b.write('GGML', 0))), code, '"GGML"')
  refusal(() => readGguf(altered(t, b => b.write('version https://git-lfs', 0))), code, 'git lfs pull')
  refusal(() => readGguf(altered(t, b => b.writeUInt32LE(1, 4))), code, 'version 1')
  refusal(() => readGguf(altered(t, b => b.writeUInt32BE(3, 4))), code, 'big-endian')
  refusal(() => readGguf(altered(t, b => b.writeBigUInt64LE(2n ** 40n, 8))), code, 'tensor count')
  refusal(() => readGguf(altered(t, b => b.writeBigUInt64LE(2n ** 40n, 24))), code, 'length of a metadata key')
  const at = (name: string) => whole.indexOf(name) + name.length
  refusal(() => readGguf(altered(t, b => b.writeUInt32LE(99, at('test.u8')))), code, 'test.u8 has type 99')
  // A table entry: dimensions (4), sizes (8 each), type (4), offset (8).
  const table = at('blk.0.attn_v.weight')
  refusal(() => readGguf(altered(t, b => b.writeUInt32LE(10, table + 20))), code, 'quantised as Q2_K', 'Q4_K')
  refusal(() => readGguf(altered(t, b => b.writeUInt32LE(20, table + 20))), code, 'quantised as IQ4_NL')
  refusal(() => readGguf(altered(t, b => b.writeUInt32LE(5, table))), code, '5 dimensions')
  refusal(() => readGguf(altered(t, b => b.writeBigUInt64LE(100n, table + 4))), code, 'rows of 100', 'block of 256')
  refusal(() => readGguf(altered(t, b => b.writeBigUInt64LE(32n, table + 24))), code, 'overlaps')
  refusal(() => readGguf(altered(t, b => b.writeBigUInt64LE(33n, table + 24))), code, 'not a multiple of 32')
  refusal(() => readGguf(altered(t, b => b.writeBigUInt64LE(BigInt(whole.length) & ~31n, table + 24))), code, 'cut off')
  refusal(() => readGguf(altered(t, b => b.write('blk.0.attn_k.weight', table - 19))), code, '"blk.0.attn_k.weight" twice')
})

test('what is no LLaMA is refused by name', t => {
  const whole = readFileSync(mixed)
  const name = whole.indexOf('general.architecture') + 'general.architecture'.length + 12
  refusal(() => openWeights(altered(t, b => b.write('gemma', name))), 'model.ggufArchitecture', '"gemma"', 'supported: llama')
  refusal(() => openWeights(altered(t, b => b.write('blk.0.attn_x.weight', b.indexOf('blk.0.attn_v.weight')))), 'model.gguf', '"blk.0.attn_x.weight"')
  refusal(() => openWeights(altered(t, b => b.write('llama.context_lengtx', b.indexOf('llama.context_length')))), 'model.gguf', 'lacks llama.context_length')
  refusal(() => openWeights(altered(t, b => b.write('tokenizer.ggml.tokenz', b.indexOf('tokenizer.ggml.tokens')))).tokenizer(), 'model.tokenizer', 'no tokenizer')
})

test('rotary scaling is found again from its divisors', () => {
  const divisors = (theta: number, dim: number, factor: number, low: number, high: number, original: number) => Float32Array.from({ length: dim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** (2 * i / dim)
    const smooth = Math.min(1, Math.max(0, (original / wavelength - low) / (high - low)))
    return 1 / ((1 - smooth) / factor + smooth)
  })
  const scaling = (factor: number, high: number, original: number) =>
    ({ rope_type: 'llama3', factor, low_freq_factor: 1, high_freq_factor: high, original_max_position_embeddings: original })
  for (const [theta, dim, factor, high, original] of [[500000, 128, 8, 4, 8192], [500000, 64, 32, 4, 8192], [10000, 32, 2, 3, 1024], [1e6, 256, 16, 8, 4096]]) {
    assert.deepEqual(llama3Scaling(divisors(theta, dim, factor, 1, high, original), theta, dim), scaling(factor, high, original))
  }
  assert.equal(llama3Scaling(new Float32Array(8).fill(1), 10000, 16), null)
  refusal(() => llama3Scaling(Float32Array.of(1, 5, 1, 8, 2, 8, 3, 8), 10000, 16), 'model.ropeScaling', 'not Llama 3')
})

test('rounding: half precision exactly, bfloat16 to nearest even', () => {
  const { halfToFloat, toBfloat16 } = rounding
  for (const [bits, value] of [[0x3c00, 1], [0xc000, -2], [0x7bff, 65504], [0x0001, 2 ** -24], [0x0400, 2 ** -14], [0x03ff, 1023 * 2 ** -24], [0x7c00, Infinity], [0x3555, 0.333251953125]]) {
    assert.equal(halfToFloat[bits], value)
  }
  assert.ok(Number.isNaN(halfToFloat[0x7e00]))
  assert.ok(Object.is(halfToFloat[0x8000], -0))
  const words = Uint32Array.of(0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0xff7fffff, 0x7f800000, 0x7f800001, 0x80000000, 0xffc00000)
  const out = new Uint16Array(words.length)
  toBfloat16(words, words.length, out, 0)
  assert.deepEqual([...out], [0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xff80, 0x7f80, 0x7fc0, 0x8000, 0x7fc0])
  assert.deepEqual([9.999999747378752e-6, 0.30000001192092896, 500000, 1 / 3].map(shortest), [1e-5, 0.3, 500000, 0.33333333])
})

/** A copy of mixed.gguf with some bytes changed. */
function altered(t: TestContext, change: (bytes: Buffer) => void): string {
  const bytes = Buffer.from(readFileSync(mixed))
  change(bytes)
  const target = path.join(temporaryFolder(t), 'altered.gguf')
  writeFileSync(target, bytes)
  return target
}
