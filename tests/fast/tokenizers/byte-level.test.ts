import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { loadTokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'
import { assertDecodes, assertEncodes, modelCases } from './support'

const folder = (name: string): string => fixture('tokenizers', 'byte-level', name)

const kinds = [
  { name: 'qwen', reads: "Qwen's, by rank, after NFC", ids: { bosId: null, eosId: 447, padId: 447, vocabSize: 655 }, before: [] },
  { name: 'opt', reads: "OPT's, with </s> before every text", ids: { bosId: 2, eosId: 2, padId: 1, vocabSize: 455 }, before: [2] },
  { name: 'bloom', reads: "BLOOM's, with nothing added", ids: { bosId: 1, eosId: 2, padId: 3, vocabSize: 459 }, before: [] },
]

for (const { name, reads, ids, before } of kinds) {
  describe(`a byte-level vocabulary of ${reads}`, () => {
    const tokenizer = loadTokenizer(folder(name)), cases = modelCases(path.join(folder(name), 'cases.json'))

    test('says its special ids', () => {
      const { bosId, eosId, padId, vocabSize } = tokenizer
      assert.deepEqual({ bosId, eosId, padId, vocabSize }, ids)
      assert.deepEqual([...tokenizer.added.before, ...tokenizer.added.after], before)
    })

    test('gives the ids of the library that owns the kind, and the text back, whole or token by token', async () => {
      for (const { text, ids: expected, decoded } of cases) {
        await assertEncodes(tokenizer, text!, expected)
        assertDecodes(tokenizer, expected, decoded ?? text!)
        assert.deepEqual(await tokenizer.encode(text!, { special: true }), [...before, ...expected])
      }
    })

    test('marks fall on the tokens that start there', async () => {
      for (const { text, ids: whole } of cases.filter((each) => each.text!.length > 4 && each.decoded === undefined)) {
        const at = Math.floor(text!.length / 2) + (/[\udc00-\udfff]/.test(text![Math.floor(text!.length / 2)]) ? 1 : 0)
        const [{ ids: seen, cuts }] = await tokenizer.encodeMarked([{ text: text!, marks: [{ at, split: false }] }])
        assert.deepEqual([...seen], whole)
        assert.ok(cuts[0] >= 0 && cuts[0] <= seen.length)
        const [split] = await tokenizer.encodeMarked([{ text: text!, marks: [{ at, split: true }] }])
        assert.equal(tokenizer.decode(split.ids.subarray(0, split.cuts[0])), text!.slice(0, at))
      }
    })
  })
}

test("Qwen's chat models get ChatML where nothing else is given; its answers end with <|im_end|>", (t) => {
  const chat = temporaryFolder(t)
  fs.copyFileSync(path.join(folder('qwen'), 'qwen.tiktoken'), path.join(chat, 'qwen.tiktoken'))
  fs.writeFileSync(path.join(chat, 'generation_config.json'), '{"chat_format": "chatml"}')
  assert.equal(loadTokenizer(folder('qwen')).chatTemplate, null)
  const messages = [{ role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Hello!' }, { role: 'user', content: 'Bye' }]
  const head = '<|im_start|>system\nYou are a helpful assistant.<|im_end|>'
  const body = '\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>'
  assert.equal(loadTokenizer(chat).renderChat(messages), head + body)
  assert.equal(loadTokenizer(chat).renderChat([{ role: 'system', content: 'Be brief.' }, ...messages], { addGenerationPrompt: true }), `<|im_start|>system\nBe brief.<|im_end|>${body}\n<|im_start|>assistant\n`)
})

test('broken files are refused with their place', (t) => {
  const made = temporaryFolder(t), write = (name: string, text: string): void => fs.writeFileSync(path.join(made, name), text)
  const sound = fs.readFileSync(path.join(folder('qwen'), 'qwen.tiktoken'), 'utf8'), load = () => loadTokenizer(made)
  write('qwen.tiktoken', sound.replace('\n', '\n???\n'))
  refusal(load, 'tokenizer.file', 'qwen.tiktoken', 'line 2', 'rank 1')
  write('qwen.tiktoken', sound.split('\n').slice(0, 100).join('\n'))
  refusal(load, 'tokenizer.file', 'no token for byte')
  fs.rmSync(path.join(made, 'qwen.tiktoken'))
  write('vocab.json', '{"a": 0, "b": 1, "ab": 2}')
  refusal(load, 'tokenizer.file', 'merges.txt', 'missing beside vocab.json')
  write('merges.txt', '#version: 0.2\na b\na c\n')
  refusal(load, 'tokenizer.file', 'merges.txt', 'line 3', '"c"')
  write('merges.txt', 'a b c\n')
  refusal(load, 'tokenizer.file', 'line 1', 'two tokens')
  write('vocab.json', '{"a": -1}')
  refusal(load, 'tokenizer.file', '"a"', '-1')
})
