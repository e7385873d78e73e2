import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { answerEnd, chatStopIds, rowEncoder, type EncodedRow, type Rounds, type TemplateSettings } from 'fettle/dist/data/encode'
import { loadTokenizer, type Tokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'
import { byteTokenizer, temporaryFolder } from '../../support/tiny'

const smollm2 = loadTokenizer(fixture('tokenizers', 'smollm2'))
const settings: TemplateSettings = { srcLength: 1024, maxLength: 2048, template: 'auto', system: null }

async function encode(rounds: Rounds, extra: Partial<TemplateSettings> = {}, tokenizer = smollm2): Promise<EncodedRow> {
  const [row] = await rowEncoder(tokenizer, { ...settings, ...extra }).encode([rounds])
  assert.equal(row.ids.length, row.labels.length)
  row.labels.forEach((label, i) => assert.ok(label === -100 || label === row.ids[i]))
  return row
}

/** The text of the trained tokens, a slash between parts that do not touch. */
function trained({ ids, labels }: EncodedRow, tokenizer = smollm2): string {
  const parts: number[][] = []
  labels.forEach((label, i) => {
    if (label === -100) return
    if (i === 0 || labels[i - 1] === -100) parts.push([])
    parts[parts.length - 1].push(ids[i])
  })
  return parts.map(part => tokenizer.decode(part)).join(' / ')
}

const one = (src: string, tgt: string): Rounds => ({ src: [src], tgt: [tgt] })
const systemText = '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n'

test('chat, token by token: ids are those of the rendered text, labels the answer and its end of turn', async () => {
  const { ids, labels, truncated } = await encode(one('Hi', 'Hello!'))
  const text = `${systemText}<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n`
  assert.deepEqual([...ids], await smollm2.encode(text))
  const shown = Array.from(ids, (id, i) => `${smollm2.tokenOf(id)}${labels[i] === -100 ? '' : '*'}`)
  assert.deepEqual(shown.slice(-14), ['<|im_start|>', 'user', 'Ċ', 'Hi', '<|im_end|>', 'Ċ', '<|im_start|>', 'ass', 'istant', 'Ċ', 'Hello*', '!*', '<|im_end|>*', 'Ċ'])
  assert.equal(truncated, false)
})

test('chat of several rounds: all answers are trained, the system message goes first', async () => {
  const row = await encode({ src: ['Hi', 'Bye'], tgt: ['Hello!', ''] }, { system: 'S' })
  assert.equal(smollm2.decode(row.ids), '<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n')
  assert.equal(trained(row), 'Hello!<|im_end|> / <|im_end|>')
})

test('an answer that begins with white space or an emoji starts where generation would start', async () => {
  const encoder = rowEncoder(smollm2, settings)
  for (const answer of ['\n\nthe', ' the', '😀 the', '', '  ', '<|im_end|>']) {
    const row = await encode(one('Hi 😀', answer))
    const prompt = await encoder.prompt({ src: ['Hi 😀'], tgt: [] })
    assert.deepEqual([...row.ids.slice(0, prompt.length)], prompt, JSON.stringify(answer))
    assert.equal(row.labels[prompt.length - 1], -100)
    assert.equal(trained(row), `${answer}<|im_end|>`)
  }
})

test('chat too long: rounds are kept from the last backwards while they fit', async () => {
  const rounds: Rounds = { src: ['a a', 'b b', 'c c', 'd d'], tgt: ['1', '2', '3', '4'] }
  const whole = await encode(rounds, { system: 'S' })
  for (let maxLength = whole.ids.length; maxLength > 20; maxLength--) {
    const row = await encode(rounds, { system: 'S', maxLength })
    assert.ok(row.ids.length <= maxLength)
    assert.equal(row.truncated, maxLength < whole.ids.length)
    const kept = trained(row).split(' / ').length
    assert.equal(trained(row), ['1<|im_end|>', '2<|im_end|>', '3<|im_end|>', '4<|im_end|>'].slice(-kept).join(' / '))
    assert.ok(smollm2.decode(row.ids).startsWith('<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n'))
    const more = await smollm2.encodeChat([{ role: 'system', content: 'S' }, ...[...rounds.src.keys()].slice(-kept - 1).flatMap(r => [{ role: 'user', content: rounds.src[r] }, { role: 'assistant', content: rounds.tgt[r] }])])
    assert.ok(kept === 4 || more.length > maxLength, 'one more round would fit')
  }
})

test('the last round alone too long: its question loses its left end inside the marks, its answer the right end', async () => {
  const question = 'the of and to in is that it for on '.repeat(10).trim()
  const row = await encode({ src: ['x', question], tgt: ['y', 'one two '.repeat(100)] }, { system: 'S', srcLength: 40, maxLength: 60 })
  assert.deepEqual([row.ids.length, row.truncated, row.labels.findIndex(l => l !== -100)], [60, true, 40])
  const text = smollm2.decode(row.ids)
  assert.ok(text.startsWith('<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n'), text)
  assert.match(text, / it for on<\|im_end\|>\n<\|im_start\|>assistant\none two one/)
  assert.ok(!trained(row).includes('<|im_end|>'))
  // A question whose text also stands in the template's own words.
  const short = await encode(one('a', 'one two '.repeat(100)), { system: 'S', srcLength: 15, maxLength: 30 })
  assert.equal(smollm2.decode(short.ids.subarray(0, 15)), '<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n')
  const prompt = await rowEncoder(smollm2, { ...settings, system: 'S', srcLength: 40, maxLength: 60 }).prompt({ src: ['x', question], tgt: ['y'] })
  assert.deepEqual(prompt, [...row.ids.slice(0, 40)])
})

test('a prompt that is too long is encoded once, the same as in parts', async () => {
  const question = 'the of and to in is that it for on '.repeat(40).trim()
  let encoded = 0
  const counted: Tokenizer = new Proxy(smollm2, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        const [given] = args
        const texts = name === 'encode' ? [given as string] : name === 'encodeMarked' ? (given as { text: string }[]).map(({ text }) => text) : []
        encoded += texts.filter((text) => text.includes(question)).length
        return (value as (...all: unknown[]) => unknown).apply(target, args)
      }
    },
  })
  const under = { ...settings, srcLength: 40, maxLength: 60 }
  const fitted = await rowEncoder(counted, under).fitPrompt({ src: ['x', question], tgt: ['y'] })
  assert.deepEqual([fitted.ids.length, fitted.dropped, fitted.cut], [40, 1, true])
  // Once with the round before it, which does not fit, and once alone.
  assert.equal(encoded, 2)
  assert.deepEqual(fitted.ids, await rowEncoder(smollm2, under).prompt({ src: [question], tgt: [] }))
  // What fits by a hair is whole, on either way to it.
  const whole = await smollm2.encodeChat([{ role: 'user', content: question }], { addGenerationPrompt: true })
  assert.deepEqual(await rowEncoder(smollm2, { ...settings, maxLength: whole.length + 1 }).fitPrompt({ src: [question], tgt: [] }), { ids: whole, dropped: 0, cut: false })
})

test('plain: source and target apart, EOS only after a whole target', async () => {
  const ids = async (text: string): Promise<number[]> => smollm2.encode(text)
  const plain = (rounds: Rounds, extra: Partial<TemplateSettings> = {}): Promise<EncodedRow> => encode(rounds, { template: 'none', ...extra })
  const [source, target] = [await ids('the end of it'), await ids(' one two')]
  assert.deepEqual([source.length, target.length], [4, 2])
  assert.deepEqual([...(await plain(one('the end of it', ' one two'))).ids], [...source, ...target, 2])
  assert.deepEqual([...(await plain(one('the end of it', ' one two'), { srcLength: 3 })).ids], [...source.slice(1), ...target, 2])
  // Room for the target but not for EOS; room for a part of it; no room at all.
  assert.deepEqual([...(await plain(one('the end of it', ' one two'), { maxLength: 6 })).ids], [...source, ...target])
  const cut = await plain(one('the end of it', ' one two'), { maxLength: 5 })
  assert.deepEqual([[...cut.ids], [...cut.labels], cut.truncated], [[...source, target[0]], [-100, -100, -100, -100, target[0]], true])
  assert.deepEqual([...(await plain(one('the end of it', ' one two'), { maxLength: 4 })).labels], [-100, -100, -100, -100])
  assert.deepEqual([...(await plain(one('', ''))).ids], [2])
  assert.deepEqual(await rowEncoder(smollm2, { ...settings, template: 'none', srcLength: 3 }).prompt({ src: ['the end of it'], tgt: [] }), source.slice(1))
})

/** A byte tokenizer (ids: byte + 3) that puts <s> first, with a chat template of one's choice. */
function byteModel(folder: string, chatTemplate?: string): Tokenizer {
  fs.mkdirSync(folder, { recursive: true })
  const bos = { SpecialToken: { id: '<s>', type_id: 0 } }
  const added = { type: 'TemplateProcessing', single: [bos, { Sequence: { id: 'A', type_id: 0 } }], pair: [], special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } } }
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify({ ...byteTokenizer(), post_processor: added }))
  fs.writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify({ bos_token: '<s>', eos_token: '</s>', chat_template: chatTemplate }))
  return loadTokenizer(folder)
}

test('plain with BOS and several rounds: BOS stays when the source is cut, later rounds win, all targets are trained', async t => {
  const bytes = byteModel(temporaryFolder(t))
  const rounds = { src: ['ab', 'cd'], tgt: ['x', 'y'] }
  const text = async (extra: Partial<TemplateSettings>): Promise<string> => bytes.decode((await encode(rounds, extra, bytes)).ids)
  assert.equal(await text({}), '<s>abx</s>cdy</s>')
  assert.equal(trained(await encode(rounds, {}, bytes), bytes), 'x</s> / y</s>')
  assert.equal(await text({ srcLength: 2 }), '<s>bx</s>dy</s>')
  assert.equal(await text({ maxLength: 8 }), '<s>cdy</s>')
  assert.equal(await text({ maxLength: 9 }), '<s>abx</s>cdy</s>')
})

const templates: Readonly<Record<string, { jinja: string; text: string; trained: string }>> = {
  'turns closed by </s>, BOS written': {
    jinja: "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}",
    text: '<s>[INST] q1 [/INST] a1</s>[INST] q2 [/INST] a2</s>', trained: ' a1</s> /  a2</s>'
  },
  'a final </s> after the last turn only': {
    jinja: "{% for m in messages %}<{{ m.role }}>{{ m.content }}<unk>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% else %}{{ eos_token }}{% endif %}",
    text: '<user>q1<unk>\n<assistant>a1<unk>\n<user>q2<unk>\n<assistant>a2<unk>\n</s>', trained: 'a1<unk> / a2<unk>'
  },
  'a generation prompt that history does not have': {
    jinja: "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}assistant: <think>{% endif %}",
    text: 'user: q1</s>\nassistant: a1</s>\nuser: q2</s>\nassistant: a2</s>\n', trained: 'a1</s> / a2</s>'
  },
  'no end of turn: EOS is put after the last answer': {
    jinja: '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}',
    text: 'user: q1\nassistant: a1\nuser: q2\nassistant: a2</s>', trained: 'a1 / a2</s>'
  }
}

for (const [name, { jinja, text, trained: expected }] of Object.entries(templates)) {
  test(`a template with ${name}`, async t => {
    const bytes = byteModel(temporaryFolder(t), jinja)
    const encoder = rowEncoder(bytes, settings)
    const [row] = await encoder.encode([{ src: ['q1', 'q2'], tgt: ['a1', 'a2'] }])
    assert.equal(bytes.decode(row.ids), text)
    assert.equal(trained(row, bytes), expected)
    assert.equal(encoder.notes().length, name.startsWith('no end') ? 1 : 0)
    assert.equal(bytes.tokenOf((await answerEnd(bytes, encoder))!), expected.includes('<unk>') ? '<unk>' : '</s>')
    assert.deepEqual(await chatStopIds([2], bytes, encoder), expected.includes('<unk>') ? [2, 0] : [2])
  })
}

test('a template that rewrites earlier turns is refused for rows of several rounds only', async t => {
  const jinja = "{% for m in messages %}{{ m.role }}: {% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}{{ loop.length }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
  const bytes = byteModel(temporaryFolder(t), jinja)
  await assert.rejects(encode({ src: ['q1', 'q2'], tgt: ['a1', 'a2'] }, {}, bytes), { code: 'data.template', message: /writes message 2 of 4 differently.*use rows of one round/ })
})

test('a template file of the plan is used, and one that is not there is refused', async t => {
  const file = path.join(temporaryFolder(t), 't.jinja')
  fs.writeFileSync(file, '{% for m in messages %}{{ m.role }}={{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant={% endif %}')
  const row = await encode(one('a', 'b'), { template: file })
  assert.equal(smollm2.decode(row.ids), 'user=a<|im_end|>assistant=b<|im_end|>')
  assert.equal(trained(row), 'b<|im_end|>')
  assert.throws(() => rowEncoder(smollm2, { ...settings, template: `${file}x` }), { code: 'data.template', message: /cannot be read \(ENOENT\)/ })
})
