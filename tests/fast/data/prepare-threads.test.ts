import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { openRows, prepare, readRows, type PreparedSplit } from 'fettle/dist/data'
import { rowEncoder } from 'fettle/dist/data/encode'
import { encoderThreads } from 'fettle/dist/data/encode-pool'
import { seededRandom } from 'fettle/dist/data/random'
import { hashSources } from 'fettle/dist/data/source-hash'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import { loadTokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const plan = defaultPlan('').data, smollm2 = fixture('tokenizers', 'smollm2')

const words = 'the quick brown fox jumps over a lazy dog 12 more é 裙 😀 <|im_end|> x  y\n\n z'.split(' ')

/** Lines of a source of about `bytes`, with blank lines, other fields, long rows and rounds between. */
function lines(bytes: number, seed: number): string[] {
  const random = seededRandom(seed), made: string[] = []
  const text = (most: number): string => Array.from({ length: 1 + random() % most }, () => words[random() % words.length]).join(' ')
  for (let size = 0; size < bytes; size += made[made.length - 1].length) {
    const kind = random() % 50, rounds = kind < 9 ? 1 + random() % 4 : 1
    const [src, tgt] = [0, 1].map(() => rounds === 1 && kind !== 0 ? text(kind === 9 ? 900 : 60) : Array.from({ length: rounds }, () => text(40)))
    made.push(JSON.stringify({ src, tgt, ...(kind === 10 ? { page: 1 } : {}) }))
    if (kind === 11) made.push('', ' ')
  }
  return made
}

function source(t: TestContext): string {
  const folder = path.join(temporaryFolder(t), 'data')
  fs.mkdirSync(path.join(folder, 'train'), { recursive: true })
  fs.writeFileSync(path.join(folder, 'train', 'a.json'), `\uFEFF\n${lines(1_300_000, 1).join('\r\n')}\n\n`)
  // A line longer than a block, and a file without a line end.
  fs.writeFileSync(path.join(folder, 'train', 'b.json'), [...lines(700_000, 2), JSON.stringify({ src: 'fox '.repeat(300_000), tgt: 'yes' }), ...lines(700_000, 3)].join('\n'))
  return folder
}

async function prepared(t: TestContext, data: string, threads: number, extra: object = {}, model = smollm2): Promise<PreparedSplit> {
  return (await prepare({ ...plan, path: data, ...extra }, model, { cache: path.join(temporaryFolder(t), 'cache'), threads })).train!
}

for (const template of ['auto', 'none']) {
  test(`three threads write the file that one writes, byte for byte (template ${template})`, async t => {
    const data = source(t), settings = { template, srcLength: 96, maxLength: 160 }
    const [one, three] = [await prepared(t, data, 1, settings), await prepared(t, data, 3, settings)]
    assert.ok(fs.readFileSync(one.file).equals(fs.readFileSync(three.file)))
    assert.deepEqual({ ...three, file: '' }, { ...one, file: '' })
    assert.deepEqual(one.notes.map(({ code }) => code), ['data.ignored-fields', 'data.blank-lines', 'data.truncated'])
    // And the rows are those of one encoder that takes them one by one.
    const encoder = rowEncoder(loadTokenizer(smollm2), { ...plan, ...settings }), rows = openRows(three), stride = 37
    let index = 0
    for (const row of readRows(three.sources)) {
      if (index % stride === 0) {
        const [{ ids, labels }] = await encoder.encode([row]), { inputIds, labels: written } = rows.row(index)
        assert.deepEqual([inputIds, written], [ids, labels], `row ${index}`)
      }
      index++
    }
    assert.equal(index, rows.rows)
  })
}

test('a SentencePiece model is loaded by each thread', async t => {
  const data = path.join(temporaryFolder(t), 'train.json'), model = fixture('tokenizers', 'chatglm2')
  fs.writeFileSync(data, lines(1_100_000, 4).join('\n'))
  const [one, two] = [await prepared(t, data, 1, {}, model), await prepared(t, data, 2, {}, model)]
  assert.ok(fs.readFileSync(one.file).equals(fs.readFileSync(two.file)))
})

test('the first bad row in the order of the files is the one that is reported', async t => {
  const folder = path.join(temporaryFolder(t), 'train'), good = Array.from({ length: 80 }, (_, i) => JSON.stringify({ src: `n ${i}`, tgt: 'yes', page: 'p'.repeat(30_000) })), data = path.dirname(folder)
  fs.mkdirSync(folder)
  const write = (name: string, at: Readonly<Record<number, string>>): void => fs.writeFileSync(path.join(folder, name), good.map((line, i) => at[i] ?? line).join('\n'))
  const strict = path.join(data, 'strict.jinja')
  fs.writeFileSync(strict, "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no bad words') }}{% endif %}{{ m.content }}{% endfor %}")
  const late = good.length - 5, broken = '{"src": "a", "tgt": b}', bad = '{"src": "bad", "tgt": "b"}'
  const first = async (threads: number, message: RegExp, code: string): Promise<void> => {
    await assert.rejects(prepared(t, data, threads, { template: strict }), { name: 'DataError', code, message })
  }
  for (const threads of [1, 3]) {
    write('a.json', { 3: bad, 9: broken, [late]: broken })
    write('b.json', {})
    await first(threads, /a\.json:4: chat template.*no bad words/, 'tokenizer.chat-template')
    write('a.json', { [late]: broken })
    await first(threads, new RegExp(`a\\.json:${late + 1}:21: expected a value`), 'data.json')
    // A second file that cannot be read is later than a row of the first; a first one without rows is earlier than any.
    fs.writeFileSync(path.join(folder, 'b.json'), Buffer.from([0x1f, 0x8b, 8, 0]))
    await first(threads, new RegExp(`a\\.json:${late + 1}:21: expected a value`), 'data.json')
    fs.writeFileSync(path.join(folder, 'a.json'), ' \n\n')
    await first(threads, /a\.json: has no rows/, 'data.empty')
    write('b.json', { 2: broken })
    await first(threads, /a\.json: has no rows/, 'data.empty')
  }
})

test('large sources that did not change are not read again', async t => {
  const folder = temporaryFolder(t), cache = path.join(folder, 'cache'), file = path.join(folder, 'train.json')
  const read = async (decides = ['x'], readBelow = 0): Promise<{ hash: string; bytes: number }> => {
    let bytes = 0
    const made = await hashSources(cache, [file], decides, { onBytes: got => { bytes += got }, readBelow })
    fs.mkdirSync(path.join(cache, made.hash.slice(0, 32)), { recursive: true })
    made.remember()
    return { hash: made.hash, bytes }
  }
  fs.writeFileSync(file, 'aaaa')
  const first = await read()
  assert.equal(first.bytes, 4)
  assert.deepEqual(await read(), { ...first, bytes: 0 })
  assert.deepEqual(await read(['x'], 5), first, 'small sources are always read')
  assert.notEqual((await read(['y'])).hash, first.hash)
  // Other bytes of the same length, with the times put back: the change time still tells.
  const { atime, mtime } = fs.statSync(file)
  fs.writeFileSync(file, 'bbbb')
  fs.utimesSync(file, atime, mtime)
  const second = await read()
  assert.equal(second.bytes, 4)
  assert.notEqual(second.hash, first.hash)
  // The same bytes in another file have the same hash.
  fs.renameSync(file, `${file}.old`)
  fs.copyFileSync(`${file}.old`, file)
  assert.deepEqual(await read(), second)
  // A file that changes while it is prepared is not remembered.
  fs.writeFileSync(file, 'cccc')
  const changing = await hashSources(cache, [file], ['x'], { readBelow: 0 })
  fs.writeFileSync(file, 'dddd')
  changing.remember()
  assert.equal((await read()).bytes, 4)
  // Records of what the cache no longer has go.
  fs.rmSync(path.join(cache, second.hash.slice(0, 32)), { recursive: true })
  fs.writeFileSync(file, 'eeee')
  await read()
  const hashes = fs.readdirSync(path.join(cache, '.read')).map(name => fs.readFileSync(path.join(cache, '.read', name), 'utf8'))
  assert.ok(hashes.length > 0 && !hashes.includes(second.hash))
})

test('little text takes one thread, much text all cores', () => {
  assert.deepEqual([encoderThreads(0, 8), encoderThreads(15 << 20, 8), encoderThreads(2 ** 40, 1)], [1, 1, 1])
  assert.ok(encoderThreads(2 ** 40, 2) <= 2)
})

test('a prepared file that lost bytes is refused by name', async t => {
  const data = path.join(temporaryFolder(t), 'train.json')
  fs.writeFileSync(data, lines(20_000, 6).join('\n'))
  const split = await prepared(t, data, 1), whole = fs.readFileSync(split.file)
  for (const length of [0, 5, 200, whole.length - 1]) {
    fs.writeFileSync(split.file, whole.subarray(0, length))
    assert.throws(() => openRows(split), { code: 'data.prepared', message: /rows\.arrow: the prepared data .*; delete it/ })
  }
  fs.writeFileSync(split.file, whole)
  const rows = openRows(split)
  fs.truncateSync(split.file, 300)
  assert.throws(() => rows.row(rows.rows - 1), { code: 'data.prepared', message: /ended at byte/ })
})
