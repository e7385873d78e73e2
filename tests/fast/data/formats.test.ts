import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, test } from 'node:test'
import { rowEncoder, type EncodedRow, type Rounds, type TemplateSettings } from 'fettle/dist/data/encode'
import { parseArguments } from 'fettle/dist/plan/arguments'
import { placementOf } from 'fettle/dist/models/positions'
import { loadTokenizer, type Tokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'
import { refusalOf } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

const settings: TemplateSettings = { srcLength: 1024, maxLength: 2048, template: 'none', system: null }
const load = (...parts: string[]): Tokenizer => loadTokenizer(fixture('tokenizers', ...parts))
const row = (src: string | string[], tgt: string | string[]): Rounds => ({ src: [src].flat(), tgt: [tgt].flat() })

/** Tokens as the vocabulary writes them; a star behind each that is trained. */
function shown({ ids, labels }: EncodedRow, tokenizer: Tokenizer): string[] {
  labels.forEach((label, i) => assert.ok(label === -100 || label === ids[i]))
  return Array.from(ids, (id, i) => `${tokenizer.tokenOf(id)}${labels[i] === -100 ? '' : '*'}`)
}

async function tokens(tokenizer: Tokenizer, rounds: Rounds, extra: Partial<TemplateSettings> = {}): Promise<string[][]> {
  const encoder = rowEncoder(tokenizer, { ...settings, ...extra })
  return (await encoder.encode(encoder.split(rounds))).map((each) => shown(each, tokenizer))
}

interface Format { readonly family: string; readonly tokenizer: Tokenizer; readonly whole: string[]; readonly cutSource: string[]; readonly cutTarget: string[]; readonly rounds: string[][] }

const llama = loadTokenizer(fixture('golden', 'tokenizers', 'sentencepiece-bpe.model')), chatglm = load('chatglm'), chatglm2 = load('chatglm2')
const qwen = load('byte-level', 'qwen'), opt = load('byte-level', 'opt'), bloom = load('byte-level', 'bloom')

/**
 * A source of three tokens and a target of two; the source cut to three tokens with its marks (srcLength 3); the target cut by a
 * maxLength that leaves it one; two rounds.
 */
const formats: readonly Format[] = [
  {
    family: 'llama', tokenizer: llama,
    whole: ['<s>', '▁the', '▁model', '▁learns', '▁in*', '▁lines*', '</s>*'],
    cutSource: ['<s>', '▁model', '▁learns', '▁in*', '▁lines*', '</s>*'],
    cutTarget: ['<s>', '▁the', '▁model', '▁learns', '▁in*'],
    rounds: [['<s>', '▁the', '▁model', '▁in*', '</s>*', '▁data', '▁lines*', '</s>*']],
  },
  {
    family: 'bloom', tokenizer: bloom,
    whole: ['the', 'Ġmodel', 'Ġlearns', 'in*', 'Ġlines*', '</s>*'],
    cutSource: ['the', 'Ġmodel', 'Ġlearns', 'in*', 'Ġlines*', '</s>*'],
    cutTarget: ['the', 'Ġmodel', 'Ġlearns', 'in*'],
    rounds: [['the', 'Ġmodel', 'in*', '</s>*', 'data', 'lines*', '</s>*']],
  },
  {
    family: 'opt', tokenizer: opt,
    whole: ['</s>', 'the', 'Ġmodel', 'Ġlearns', 'in*', 'Ġlines*', '</s>*'],
    cutSource: ['</s>', 'Ġmodel', 'Ġlearns', 'in*', 'Ġlines*', '</s>*'],
    cutTarget: ['</s>', 'the', 'Ġmodel', 'Ġlearns', 'in*'],
    rounds: [['</s>', 'the', 'Ġmodel', 'in*', '</s>*', 'data', 'lines*', '</s>*']],
  },
  {
    family: 'qwen', tokenizer: qwen,
    whole: ['the', 'Ġmodel', 'Ġlearns', 'in*', 'Ġlines*', '<|endoftext|>*'],
    cutSource: ['the', 'Ġmodel', 'Ġlearns', 'in*', 'Ġlines*', '<|endoftext|>*'],
    cutTarget: ['the', 'Ġmodel', 'Ġlearns', 'in*'],
    rounds: [['the', 'Ġmodel', 'in*', '<|endoftext|>*', 'data', 'lines*', '<|endoftext|>*']],
  },
  {
    family: 'chatglm', tokenizer: chatglm,
    whole: ['▁the', '▁model', '▁learns', '[gMASK]', '<sop>', '▁in*', '▁lines*', '<eop>*'],
    cutSource: ['▁learns', '[gMASK]', '<sop>', '▁in*', '▁lines*', '<eop>*'],
    cutTarget: ['▁the', '▁model', '▁learns', '[gMASK]', '<sop>', '▁in*'],
    // One answer a sequence: the second one's prompt holds the first round.
    rounds: [['▁the', '▁model', '[gMASK]', '<sop>', '▁in*', '<eop>*'], ['▁the', '▁model', '<n>', 'i', 'n', '<n>', 'd', 'a', 't', 'a', '[gMASK]', '<sop>', '▁lines*', '<eop>*']],
  },
  {
    family: 'chatglm2', tokenizer: chatglm2,
    whole: ['[gMASK]', 'sop', '▁the', '▁model', '▁learns', '▁in*', '▁lines*', '</s>*'],
    cutSource: ['[gMASK]', 'sop', '▁learns', '▁in*', '▁lines*', '</s>*'],
    cutTarget: ['[gMASK]', 'sop', '▁the', '▁model', '▁learns', '▁in*'],
    rounds: [['[gMASK]', 'sop', '▁the', '▁model', '▁in*', '</s>*', '▁data', '▁lines*', '</s>*']],
  },
]

for (const { family, tokenizer, whole, cutSource, cutTarget, rounds } of formats) {
  describe(`the format of ${family}, token by token`, () => {
    test('source with its marks, target, end; the source is not trained', async () => assert.deepEqual(await tokens(tokenizer, row('the model learns', 'in lines')), [whole]))
    test('a long source loses its left end and keeps its marks', async () => assert.deepEqual(await tokens(tokenizer, row('the model learns', 'in lines'), { srcLength: 3 }), [cutSource]))
    test('a long target loses its right end, and then has no end token', async () =>
      assert.deepEqual(await tokens(tokenizer, row('the model learns', 'in lines'), { maxLength: cutTarget.length }), [cutTarget]))
    test('a target that just fits has no room for an end token', async () => {
      const [seen] = await tokens(tokenizer, row('the model learns', 'in lines'), { maxLength: whole.length - 1 })
      assert.deepEqual(seen, whole.slice(0, -1))
    })
    test('every round is trained', async () => assert.deepEqual(await tokens(tokenizer, row(['the model', 'data'], ['in', 'lines'])), tokenizer === bloom || tokenizer === qwen || tokenizer === opt ? await joined(tokenizer, rounds) : rounds))
    test('a prompt is what a row of it begins with', async () => {
      const encoder = rowEncoder(tokenizer, settings), [trained] = await encoder.encode([row('the model', 'in')])
      const ids = await encoder.prompt({ src: ['the model'], tgt: [] })
      assert.deepEqual(ids, [...trained.ids].slice(0, ids.length))
      assert.equal(trained.labels.findIndex((label) => label !== -100), ids.length)
    })
  })
}

/** Words that are no token of their own in a byte-level vocabulary come as their letters. */
async function joined(tokenizer: Tokenizer, rounds: string[][]): Promise<string[][]> {
  return Promise.all(rounds.map(async (tokens) => (await Promise.all(tokens.map(async (token) => {
    if (tokenizer.idOf(token.replace('*', '')) !== null) return [token]
    return (await tokenizer.encode(token.replace('*', ''))).map((id) => `${tokenizer.tokenOf(id)}${token.endsWith('*') ? '*' : ''}`)
  }))).flat()))
}

test("ChatGLM's positions: the prompt counts, the answer stands at the mark and counts apart; the prompt is seen whole", async () => {
  const { added: { after: [mark, start] } } = chatglm
  const [{ ids, labels }] = await rowEncoder(chatglm, settings).encode([row('the model learns', 'in lines')])
  const place = placementOf({ start, marks: [mark] }, ids)
  assert.deepEqual([...ids.keys()].map((i) => [place.position(i), place.block(i)]), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1], [3, 2], [3, 3], [3, 4]])
  assert.equal(place.prefix, 4)
  // The first label is the token behind <sop>: what <sop> predicts.
  assert.equal(labels.findIndex((label) => label !== -100), ids.indexOf(start) + 1)
})

describe("PaddleNLP's chat templates", () => {
  const glm = { conversation: ['[Round {{index}}]\n问：{{user}}\n答：', '{{bot}}\n'], query: '[Round {{index}}]\n问：{{query}}\n答：' }
  const llama2 = {
    system: '<s>[INST] <<SYS>>\n{{system or "Be kind."}}\n<</SYS>>\n\n',
    conversation: ['{% if not is_first %}<s>[INST] {% endif %}{{user}} [/INST] ', '{{bot}} </s>'], query: '{% if not is_first %}<s>[INST] {% endif %}{{query}} [/INST] ',
  }
  const write = (folder: string, json: unknown): string => {
    const file = path.join(folder, 'chat_template.json')
    fs.writeFileSync(file, typeof json === 'string' ? json : JSON.stringify(json))
    return file
  }

  test('ChatGLM: a sequence a round, rounds counted from 0, marks behind the prompt, the answer alone trained', async (t) => {
    const template = write(temporaryFolder(t), glm), encoder = rowEncoder(chatglm, { ...settings, template })
    assert.equal(encoder.kind, 'chat')
    const encoded = await encoder.encode(encoder.split(row(['the model', 'data'], ['in', 'lines'])))
    const text = (ids: ArrayLike<number>): string => chatglm.decode(ids, { skipSpecial: true })
    const trained = encoded.map(({ ids, labels }) => shown({ ids, labels, truncated: false }, chatglm).filter((token) => token.endsWith('*')))
    assert.deepEqual(trained, [['▁in*', '<eop>*'], ['▁lines*', '<eop>*']])
    const prompts = encoded.map(({ ids }) => ids.subarray(0, ids.indexOf(chatglm.added.after[1]) + 1))
    for (const prompt of prompts) assert.deepEqual([...prompt.slice(-2)], [...chatglm.added.after])
    assert.equal(text(prompts[0]), text((await chatglm.encode('[Round 0]\n问：the model\n答：'))))
    assert.equal(text(prompts[1]), text((await chatglm.encode('[Round 0]\n问：the model\n答：in\n[Round 1]\n问：data\n答：'))))
  })

  test('LLaMA 2: the system message first, every answer trained with its end, a system message of our own in its place', async (t) => {
    const template = write(temporaryFolder(t), llama2), encoder = rowEncoder(llama, { ...settings, template })
    const [{ ids, labels }] = await encoder.encode([row(['the model', 'data'], ['in', 'lines'])])
    const read = (text: string): Promise<number[]> => llama.encode(text, { rendered: true }), first = await read('<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nthe model [/INST] ')
    assert.deepEqual([...ids.subarray(0, first.length)], first)
    assert.equal(llama.decode(ids), '<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nthe model [/INST] in </s><s>[INST] data [/INST] lines </s>')
    const answers = Array.from(labels, (label) => (label === -100 ? '|' : llama.decode([label]))).join('').split(/\|+/).filter(Boolean)
    assert.deepEqual(answers, ['in</s>', 'lines</s>'])
    const prompt = await rowEncoder(llama, { ...settings, template, system: 'Be brief.' }).prompt({ src: ['data'], tgt: [] })
    assert.deepEqual(prompt, await llama.encode('<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\ndata [/INST] ', { rendered: true }))
  })

  test('its folder serves as well as its file; a model that brings one has it for its template', async (t) => {
    const folder = temporaryFolder(t)
    write(folder, glm)
    assert.deepEqual(await rowEncoder(chatglm, { ...settings, template: folder }).prompt({ src: ['data'], tgt: [] }), await rowEncoder(chatglm, { ...settings, template: path.join(folder, 'chat_template.json') }).prompt({ src: ['data'], tgt: [] }))
    fs.cpSync(fixture('tokenizers', 'chatglm'), folder, { recursive: true })
    assert.equal(loadTokenizer(folder).renderChat([{ role: 'user', content: 'data' }], { addGenerationPrompt: true }), '[Round 0]\n问：data\n答：')
    const { plan } = parseArguments({ model_name_or_path: 'm', dataset_name_or_path: 'd', output_dir: 'o', do_train: true, chat_template: folder })
    assert.equal(plan.data.template, folder)
  })

  test('broken ones are refused with their file', async (t) => {
    const folder = temporaryFolder(t), encoder = () => rowEncoder(chatglm, { ...settings, template: path.join(folder, 'chat_template.json') })
    for (const [json, code, words] of [['{', 'data.template', 'not JSON'], [{ text: 1 }, 'data.template', 'neither'], [{ conversation: ['one'] }, 'tokenizer.chat-template', 'two texts']] as const) {
      write(folder, json)
      await refusalOf((async () => encoder())(), code, words, 'chat_template.json')
    }
  })
})
