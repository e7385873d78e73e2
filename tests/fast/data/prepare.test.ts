import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { openRows } from 'fettle/dist/data/arrow-reader'
import { ArrowWriter } from 'fettle/dist/data/arrow-writer'
import { prepare, type PrepareOptions, type PrepareProgress } from 'fettle/dist/data'
import type { PreparedSplit } from 'fettle/dist/data/dataset'
import { rowEncoder } from 'fettle/dist/data/encode'
import { countSupervised } from 'fettle/dist/data/packing'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import { loadTokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'
import { temporaryFolder, tinyData } from '../../support/tiny'

const model = fixture('tokenizers', 'smollm2')
const plan = defaultPlan('').data

function work(t: TestContext): { data: string; cache: string; run: (extra?: object, options?: PrepareOptions) => ReturnType<typeof prepare> } {
  const folder = temporaryFolder(t)
  const data = tinyData(path.join(folder, 'data'))
  const cache = path.join(folder, 'cache')
  return { data, cache, run: (extra, options) => prepare({ ...plan, path: data, ...extra }, model, { cache, ...options }) }
}

test('a data set is tokenised in another process, and what is written is what is read', async t => {
  const { run } = work(t)
  const seen: PrepareProgress[] = []
  const { train, dev } = await run({}, { onProgress: p => seen.push(p) })
  assert.deepEqual([train!.rows, dev!.rows, train!.template], [11, 3, 'chat'])
  assert.deepEqual(seen.filter(p => p.state === 'done').map(p => [p.split, p.rows, p.bytes === p.totalBytes]), [['train', 11, true], ['dev', 3, true]])
  const rows = openRows(train!)
  const tokenizer = loadTokenizer(model)
  let [tokens, supervised, longest] = [0, 0, 0]
  for (let i = 0; i < rows.rows; i++) {
    const { inputIds, labels } = rows.row(i)
    assert.deepEqual([inputIds.length, labels.length, countSupervised(labels)], [rows.length(i), rows.length(i), rows.supervised(i)])
    assert.ok(tokenizer.decode(inputIds).includes(`<|im_start|>user\nn ${i}: `))
    tokens += inputIds.length
    supervised += countSupervised(labels)
    longest = Math.max(longest, inputIds.length)
  }
  assert.deepEqual([train!.tokens, train!.supervised, train!.longest, train!.truncated], [tokens, supervised, longest, 0])
  assert.throws(() => rows.row(11), { code: 'data.row' })
  assert.throws(() => rows.length(-1), { code: 'data.row' })
})

test('the preview shows a row with its special tokens and labels', async t => {
  const { train } = await work(t).run()
  const { text, ids, labels, tokens } = train!.preview
  assert.ok(text.startsWith('<|im_start|>system\n') && text.endsWith('<|im_end|>\n'))
  assert.deepEqual([tokens[0], ids[0], labels[0], ids.length], ['<|im_start|>', 1, -100, labels.length])
  assert.deepEqual([labels.at(-2), labels.at(-1)], [2, -100])
})

test('prepared data is reused for the same bytes and settings, and for nothing else', async t => {
  const { run, data, cache } = work(t)
  const states = async (extra?: object): Promise<string> => {
    const seen = new Set<string>()
    await run(extra, { onProgress: p => seen.add(p.state) })
    return seen.has('reused') ? 'reused' : 'made'
  }
  const first = (await run()).train!
  assert.equal(await states(), 'reused')
  assert.deepEqual((await run()).train, first)
  for (const other of [{ maxLength: 2047 }, { srcLength: 1000 }, { template: 'none' }, { system: 'S' }]) {
    assert.equal(await states(other), 'made', JSON.stringify(other))
  }
  // Broken entries are made anew.
  fs.truncateSync(first.file, 100)
  assert.equal((await run()).train!.rows, 11)
  assert.equal(openRows((await run()).train!).rows, 11)
  fs.appendFileSync(path.join(data, 'train.json'), '{"src": "more", "tgt": "!"}\n')
  assert.equal((await run()).train!.rows, 12)
  assert.deepEqual(fs.readdirSync(cache).filter(name => name.startsWith('.')), [])
})

test('two processes that prepare the same data at once both get it', async t => {
  const { run } = work(t)
  const [a, b] = await Promise.all([run(), run()])
  assert.deepEqual(a, b)
  assert.equal(openRows(a.train!).rows, 11)
})

test('errors of the data arrive typed, and leave nothing behind', async t => {
  const { run, data, cache } = work(t)
  fs.appendFileSync(path.join(data, 'dev.json'), '{"src": "x", "tgt": 1}\n')
  await assert.rejects(run(), { name: 'DataError', code: 'data.field', message: /dev\.json:4:21: expected a string/ })
  assert.equal(fs.readdirSync(cache).length, 1)
  await assert.rejects(prepare({ ...plan, path: data }, temporaryFolder(t), { cache }), { name: 'ModelError', code: 'tokenizer.missing' })
  assert.equal((await run({}, { skip: ['dev'] })).dev, null)
  fs.rmSync(path.join(data, 'dev.json'))
  await assert.rejects(run({}, { require: ['train', 'dev'] }), { code: 'data.not-found', message: /no dev data/ })
})

test('a row that the template refuses is named', async t => {
  const { run, data } = work(t)
  const template = path.join(data, 'strict.jinja')
  fs.writeFileSync(template, "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no bad words') }}{% endif %}{{ m.content }}{% endfor %}")
  fs.appendFileSync(path.join(data, 'train.json'), '{"src": "bad", "tgt": "b"}\n')
  await assert.rejects(run({ template }), { name: 'DataError', code: 'tokenizer.chat-template', message: /train\.json:12: chat template .*strict\.jinja, line 1: refuses a chat of user.*no bad words/ })
})

test('a stopped preparation rejects with the reason', async t => {
  const { run } = work(t)
  await assert.rejects(run({}, { signal: AbortSignal.timeout(1) }), { name: 'TimeoutError' })
})

test('notes tell what was passed over, cut or left without an answer', async t => {
  const { run, data } = work(t)
  fs.writeFileSync(path.join(data, 'train.json'), '{"src": "a", "tgt": "b", "id": 1}\n\n{"src": "a b c", "tgt": "one two"}\n')
  const { train } = await run({ template: 'none', srcLength: 3, maxLength: 3, system: 'S' })
  assert.deepEqual(train!.notes.map(n => n.code), ['data.ignored-fields', 'data.blank-lines', 'data.truncated', 'data.no-answer-left', 'data.no-system'])
  assert.match(train!.notes[3].message, /without a token to learn from: 1, the first at .*train\.json:3/)
})

test('many record batches: rows are found across their borders', async t => {
  const file = path.join(temporaryFolder(t), 'rows.arrow')
  const writer = new ArrowWriter(file)
  const rows = 40_000
  const idsOf = (i: number): Int32Array => Int32Array.from({ length: 1 + (i % 5) }, (_, k) => i + k)
  for (let i = 0; i < rows; i++) await writer.add({ ids: idsOf(i), labels: idsOf(i), lengths: Int32Array.of(1 + (i % 5)), supervised: Int32Array.of(i % 5) })
  await writer.finish()
  const reader = openRows({ file, rows } as PreparedSplit)
  for (const i of [0, 1, 16_383, 16_384, 32_767, 32_768, rows - 1]) {
    assert.deepEqual(reader.row(i).inputIds, idsOf(i))
    assert.deepEqual([reader.length(i), reader.supervised(i)], [1 + (i % 5), i % 5])
  }
  assert.throws(() => openRows({ file, rows: rows + 1 } as PreparedSplit), { code: 'data.prepared', message: /has 40000 rows, expected 40001; delete it/ })
  fs.writeFileSync(file, 'broken')
  assert.throws(() => openRows({ file, rows } as PreparedSplit), { code: 'data.prepared' })
})

test('no part of the data path loads the addon', () => {
  const script = "for (const m of ['data', 'data/prepare-worker', 'data/write-rows', 'tokenizers', 'tokenizers/library-tokenizer']) require('fettle/dist/' + m); process.exit(Object.keys(require.cache).some(f => /fettle-native|[\\\\/]native[\\\\/]/.test(f)) ? 1 : 0)"
  const { spawnSync } = require('node:child_process') as typeof import('node:child_process')
  assert.equal(spawnSync(process.execPath, ['-e', script], { cwd: fixture('..') }).status, 0)
})

test('a line of 2 MB is prepared in seconds, cut as generation cuts its prompt', async t => {
  const { cache } = work(t), file = path.join(temporaryFolder(t), 'long.json')
  const words = 'the quick brown fox jumps over a lazy dog, and then 12 more\n'
  const src = words.repeat(Math.ceil(2e6 / words.length)), answers = ['yes', '\n\n yes', '\u{1F98A} fox', '']
  const rows = [...answers.map((tgt, i) => ({ src: i === 0 ? src : src.slice(0, 50_000), tgt })), { src: '\u{1F98A}\n'.repeat(9000), tgt: ' a' }, { src: `${words}${'a'.repeat(40_000)}  `, tgt: 'b' }]
  fs.writeFileSync(file, rows.map(row => JSON.stringify(row)).join('\n'))
  const settings = { ...plan, srcLength: 64, maxLength: 96 }
  const before = Date.now()
  const { train } = await prepare({ ...settings, path: file }, model, { cache })
  // Far above what it takes; a cost that grows faster than the line goes far beyond.
  assert.ok(Date.now() - before < 60_000)
  assert.equal(train!.truncated, rows.length)
  const encoder = rowEncoder(loadTokenizer(model), settings), prepared = openRows(train!)
  for (const [i, row] of rows.entries()) {
    const { inputIds, labels } = prepared.row(i), prompt = await encoder.prompt({ src: [row.src], tgt: [] })
    assert.equal(prompt.length, 64)
    assert.deepEqual(Array.from(inputIds).slice(0, 64), prompt, `row ${i}`)
    assert.ok(Array.from(labels).slice(0, 64).every(label => label === -100) && labels[64] !== -100)
  }
})
