import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { DataError } from 'fettle/dist/errors'
import { seededRandom } from 'fettle/dist/data/random'
import { readLines } from 'fettle/dist/data/lines'
import { newReadStats, readRows, type ReadStats } from 'fettle/dist/data/rows'
import { temporaryFolder } from '../../support/tiny'

function read(t: TestContext, content: string | Buffer, stats?: ReadStats): { src: readonly string[]; tgt: readonly string[]; line: number }[] {
  const file = path.join(temporaryFolder(t), 'train.json')
  fs.writeFileSync(file, content)
  return [...readRows([file], stats)].map(({ src, tgt, line }) => ({ src, tgt, line }))
}

/** Expects a DataError whose message begins with `train.json` and the given rest. */
function refused(t: TestContext, content: string | Buffer, code: string, rest: RegExp, details: Record<string, unknown> = {}): void {
  assert.throws(() => read(t, content), (error: unknown) => {
    assert.ok(error instanceof DataError)
    assert.equal(error.code, code)
    assert.match(error.message.replace(/^\S*?\/train\.json/, 'train.json'), rest)
    for (const [name, value] of Object.entries(details)) assert.deepEqual(error.details[name], value, name)
    return true
  })
}

const row = (src: unknown, tgt: unknown): string => JSON.stringify({ src, tgt })

test('rows of strings and of rounds; line ends, a BOM and a missing last newline change nothing', t => {
  const expected = [{ src: ['a'], tgt: ['b'], line: 1 }, { src: ['x', 'y'], tgt: ['1', ''], line: 2 }]
  const lines = [row('a', 'b'), row(['x', 'y'], ['1', ''])]
  for (const end of ['\n', '\r\n']) {
    for (const last of ['', end, end + end + '  ' + end]) assert.deepEqual(read(t, lines.join(end) + last), expected)
  }
  assert.deepEqual(read(t, `\uFEFF${lines.join('\n')}`), expected)
})

test('text comes through untouched: emoji, U+2028, escapes, empty strings, spaces', t => {
  const texts = ['', ' ', '👩‍👩‍👧‍👦', 'a\u2028b\u2029c\u0085d', 'tab\tnewline\ncr\r', '\u0000', '\uFEFFx', '裙', 'ﷺ', '\\u0041']
  assert.deepEqual(read(t, texts.map(x => row(x, x)).join('\n')).map(r => r.src[0]), texts)
})

test('any bytes are cut into the same lines, whatever the size of the pieces', t => {
  const random = seededRandom(7)
  const file = path.join(temporaryFolder(t), 'x')
  for (let round = 0; round < 60; round++) {
    const pieces = ['\n', '\r\n', '\r', '😀', 'é', 'a', '\u2028', '']
    const text = Array.from({ length: random() % 80 }, () => pieces[random() % pieces.length]).join('')
    fs.writeFileSync(file, text)
    const expected = text.split('\n')
    if (expected.at(-1) === '') expected.pop()
    for (const size of [1, 2, 3, 7, 4096]) {
      const lines = [...readLines(file, size)]
      assert.deepEqual(lines.map(l => l.bytes.toString()), expected.map(l => l.replace(/\r$/, '')), JSON.stringify(text))
      for (const { bytes, offset } of lines) assert.equal(fs.readFileSync(file).subarray(offset, offset + bytes.length).compare(bytes), 0)
    }
  }
})

test('a line of 10 MB is a line', t => {
  const long = '裙a'.repeat(2_500_000)
  const rows = read(t, `${row('a', 'b')}\n${row(long, 'x')}\n${row('c', 'd')}`)
  assert.equal(rows.length, 3)
  assert.ok(rows[1].src[0] === long)
})

test('syntax errors name line and column', t => {
  const good = row('a', 'b')
  refused(t, `${good}\n{"src": "a", "tgt": b}`, 'data.json', /^train\.json:2:21: expected a value, found "b"; correct this line/, { line: 2, column: 21 })
  refused(t, `${good}\n\r\n{"src": "é😀", 'tgt': "b"}`, 'data.json', /^train\.json:3:15: expected a name in double quotes, found "'"/)
  refused(t, `${good}\n{"src": "a" "tgt": "b"}`, 'data.json', /:2:13: expected "," or "}" after the value, found "\\""/)
  refused(t, `${good}\n{"src": "a", "tgt": "b",}`, 'data.json', /:2:25: expected another value after ","/)
  refused(t, `${good}\n{"src": "a", "tgt": "b"} x`, 'data.json', /:2:26: expected the end of the line after the value, found "x"/)
  refused(t, `${good}\n{"src": "a", "tgt": "b`, 'data.json', /:2:23: expected a closing double quote, the line ends/)
  refused(t, `${good}\n{"src": "a\tb", "tgt": "b"}`, 'data.json', /:2:11: expected control characters written as/)
  refused(t, `${good}\n{"src": "a\\x", "tgt": "b"}`, 'data.json', /:2:11: expected one of/)
  refused(t, `${good}\n{"src": NaN, "tgt": 01}`, 'data.json', /:2:9: expected a value, found "N"/)
})

test('the scanner finds a fault exactly where JSON.parse refuses', t => {
  // Broken lines by one random edit: whatever JSON.parse refuses has a place, and what it accepts has none.
  const random = seededRandom(11)
  const base = '{"src": ["a\\n", "b"], "tgt": ["c", "d"], "n": [1.5e3, {"x": null}], "t": true}'
  const { scanJson } = require('fettle/dist/data/json-scan') as typeof import('fettle/dist/data/json-scan')
  for (let i = 0; i < 3000; i++) {
    const at = random() % base.length
    const insert = '{}[]",:\\0- etn'[random() % 14]
    const text = base.slice(0, at) + insert + base.slice(at + (random() % 2))
    let valid = true
    try { JSON.parse(text) } catch { valid = false }
    assert.equal(scanJson(text).fault === null, valid, text)
  }
  t.diagnostic('3000 edits')
})

test('wrong fields name line, column and the remedy', t => {
  const good = row('a', 'b')
  refused(t, `${good}\n  {"src": "a"}`, 'data.field', /^train\.json:2:3: has no field "tgt" \(the line has "src"\); add it/, { line: 2, column: 3, field: 'tgt' })
  refused(t, '{"content": "a", "summary": "b"}', 'data.field', /:1:1: has no field "src" .*rename content to src and summary to tgt: jq -c/)
  refused(t, '{"messages": []}', 'data.field', /put the user's messages into a list src/)
  refused(t, `${good}\n{"src": "é", "tgt": 12}`, 'data.field', /:2:21: expected a string \(or a list of strings\) for tgt, got the number 12; put it in double quotes: "12"/)
  refused(t, '{"src": null, "tgt": "b"}', 'data.field', /:1:9: .* got null; write ""/)
  refused(t, '{"src": ["a", 2], "tgt": ["b", "c"]}', 'data.field', /:1:15: expected a string for src\[1\], got the number 2/)
  refused(t, '{"src": ["a", "b"], "tgt": ["c"]}', 'data.field', /:1:28: src has 2 rounds, tgt has 1/)
  refused(t, '{"src": [], "tgt": []}', 'data.field', /:1:9: expected at least one round in src/)
  refused(t, '{"src": "a", "tgt": "b", "src": "c"}', 'data.field', /:1:26: has the field "src" twice/)
  refused(t, '{"src": "a", "tgt": "b\\ud83d"}', 'data.field', /:1:21: tgt has half of a character/)
  refused(t, `${good}\n"text"`, 'data.field', /:2:1: expected an object .*got the string "text"/)
  assert.deepEqual(read(t, '{"src": "the name \\"src\\" and \\"tgt\\"", "tgt": ["one"]}')[0].tgt, ['one'])
})

test('other formats are named, with the way to convert them', t => {
  refused(t, `[${row('a', 'b')},\n${row('a', 'b')}]`, 'data.format', /is one JSON array.*jq -c '\.\[\]'/)
  refused(t, `[${row('a', 'b')}]`, 'data.format', /is one JSON array/)
  refused(t, '{\n  "src": "a",\n  "tgt": "b"\n}', 'data.format', /pretty-printed JSON.*jq -c \. /)
  refused(t, Buffer.from([0x1f, 0x8b, 8, 0]), 'data.format', /compressed with gzip.*gunzip/)
  refused(t, Buffer.from(`\uFEFF${row('a', 'b')}`, 'utf16le'), 'data.format', /is UTF-16.*iconv/)
  refused(t, '', 'data.empty', /has no rows/)
  refused(t, '\n \n', 'data.empty', /has no rows/)
})

test('bytes that are not UTF-8 are named with their offset', t => {
  const good = Buffer.from(`${row('é', 'b')}\n`)
  const bad = Buffer.concat([good, Buffer.from('{"src": "é'), Buffer.from([0xe9]), Buffer.from('", "tgt": "b"}')])
  refused(t, bad, 'data.encoding', /^train\.json:2:11: byte 0xe9 at offset 34 is not UTF-8/, { line: 2, column: 11, offset: 34, byte: 0xe9 })
  const cut = Buffer.concat([good, Buffer.from('{"src": "'), Buffer.from('😀').subarray(0, 2), Buffer.from('", "tgt": "b"}')])
  refused(t, cut, 'data.encoding', /byte 0xf0 at offset 32/)
})

test('what is passed over is counted', t => {
  const stats = newReadStats()
  const rows = read(t, `${row('a', 'b')}\n\n \n{"src": "a", "tgt": "b", "id": 1}\n\n`, stats)
  assert.deepEqual(rows.map(r => r.line), [1, 4])
  assert.deepEqual([stats.blankLines, [...stats.ignoredFields]], [2, [['id', 1]]])
  assert.match(stats.firstBlank!, /train\.json:2$/)
})
