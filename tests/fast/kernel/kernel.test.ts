import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { PlanError } from 'fettle'
import { install, remove } from 'fettle-kernel'
import { injectParameters, settleReturns, type Notebook } from 'fettle-kernel/dist/driver/notebook'
import { Outputs } from 'fettle-kernel/dist/driver/outputs'
import { withoutRemote } from 'fettle-kernel/dist/html'
import { codeFrame, describeFindings, describeThrown, plainTraceback } from 'fettle-kernel/dist/session/errors'
import { columnBefore, runnable } from 'fettle-kernel/dist/session/source'
import { Wire } from 'fettle-kernel/dist/session/wire'
import { repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

const command = path.join(repoRoot, 'kernel', 'bin', 'fettle-kernel.js')

test('messages keep their content over the wire, and a wrong signature is refused', () => {
  const wire = new Wire('secret')
  const frames = wire.encode('execute_request', { code: 'ä 1' }, null, [Buffer.from('client')], { cellId: 'a' })
  const message = wire.decode(frames)
  assert.deepEqual([message.header.msg_type, message.content, message.metadata, String(message.identity)], ['execute_request', { code: 'ä 1' }, { cellId: 'a' }, 'client'])
  const reply = wire.decode(wire.encode('execute_reply', {}, message, message.identity))
  assert.equal(reply.header.session, message.header.session)
  // The kernel's session, whoever asks.
  const asked = wire.decode(new Wire('secret').encode('kernel_info_request', {}, null))
  assert.notEqual(asked.header.session, message.header.session)
  assert.deepEqual([asked, null].map((parent) => wire.decode(wire.encode('status', {}, parent)).header.session), [message.header.session, message.header.session])
  const forged = [...frames]
  forged[forged.length - 1] = Buffer.from('{"code":"evil"}')
  assert.throws(() => wire.decode(forged), { code: 'kernel.signature' })
  assert.throws(() => new Wire('other').decode(frames), { code: 'kernel.signature' })
  assert.throws(() => wire.decode([Buffer.from('x')]), { code: 'kernel.message' })
})

test('a typed error is told by its message, a plain one by the frames that are the user\'s', () => {
  const typed = describeThrown(new PlanError('plan.value', 'expected a whole number for rank, got -3; try .lora({ rank: 8 })', { value: -3 }))
  assert.equal(typed.ename, 'PlanError')
  assert.match(plainTraceback(typed), /^PlanError: expected a whole number for rank, got -3\n→ try \.lora\(\{ rank: 8 \}\)\n[^]*\d+ stack frames folded; all of them: error\.stack, code plan\.value$/)
  const error = new TypeError('no')
  error.stack = 'TypeError: no\n    at run (/home/me/mine.js:3:7)\n    at node:vm:12\n    at run (/x/node_modules/tslab/dist/executor.js:1:1)'
  assert.equal(plainTraceback(describeThrown(error)), 'TypeError: no\n  at run (/home/me/mine.js:3:7)\n  2 stack frames folded; all of them: error.stack')
  assert.deepEqual(describeThrown('text'), { ename: 'Thrown', evalue: 'text', traceback: ['\x1b[31mThrown: text\x1b[0m', '→ throw an Error instead of a plain value: it knows its place'] })
})

test('findings of the compiler point at their place', () => {
  const error = describeFindings([{ line: 1, character: 4, text: 'A is wrong' }, { line: 1, character: 4, text: 'because of B' }], 'one\nlet two')
  assert.equal(plainTraceback(error), 'TypeScript 2:5 - A is wrong\n    1 | one\n  > 2 | let two\n      |     ^\n  because of B')
})

test('shorthand properties are written out, and nothing else', () => {
  assert.equal(runnable('f({ a, b: { c }, ...d })\nconst { e } = x'), 'f({ a: a, b: { c: c }, ...d })\nconst { e } = x')
  assert.equal(runnable('({ a } = x)'), '({ a: a } = x)')
  // A cell that waits by `for await` alone; in a function it is the function that waits.
  assert.equal(runnable('// all\nfor await (const e of run) e'), '// all\nawait null; for await (const e of run) e')
  assert.equal(runnable('async () => { for await (const e of run) e }'), 'async () => { for await (const e of run) e }')
  assert.equal(runnable('const s = "{ a }" // { a }'), 'const s = "{ a }" // { a }')
})

test('a place in the expanded form of a cell is found in the cell itself', () => {
  const code = 'f({ a, b })\ng()'
  const column = (text: string, line = 0) => columnBefore(code, line, runnable(code).split('\n')[line].indexOf(text))
  assert.deepEqual([column('a'), column('b'), column(')'), column('g', 1)], [4, 7, 10, 0])
  assert.deepEqual(codeFrame('x'.repeat(500), 1, 400).map((line) => line.length < 200), [true, true])
  assert.match(codeFrame('one\ntwo', 3, 1).join('\n'), /> 2 \| two\n.*\|    \^/s)
})

test('outputs gather as in a notebook', () => {
  const cells = [0, 1].map((i) => ({ id: `${i}`, cell_type: 'code' as const, metadata: {}, source: '', outputs: [] }))
  const outputs = new Outputs(cells)
  const show = (index: number, type: string, html: string) => outputs.take(index, { type, content: { data: { 'text/html': html }, metadata: {}, transient: { display_id: 'd' } } })
  outputs.take(0, { type: 'stream', content: { name: 'stdout', text: 'a' } })
  outputs.take(0, { type: 'stream', content: { name: 'stdout', text: 'b' } })
  show(0, 'display_data', '1')
  show(1, 'display_data', '1')
  // An update reaches every place of the display, whichever cell sent it.
  assert.deepEqual(show(1, 'update_display_data', '2').map(({ cell, update }) => [cell, update]), [[0, true], [1, true]])
  assert.deepEqual(cells[0].outputs.map((o: any) => o.text ?? o.data['text/html']), ['ab', '2'])
  outputs.take(1, { type: 'clear_output', content: { wait: true } })
  assert.equal(cells[1].outputs.length, 1)
  outputs.take(1, { type: 'stream', content: { name: 'stderr', text: 'new' } })
  assert.deepEqual(cells[1].outputs.map((o: any) => o.output_type), ['stream'])
  assert.deepEqual(show(0, 'update_display_data', '3').map(({ cell }) => cell), [0])
  assert.equal(settleReturns('1 of 3\r2 of 3\r3 of 3\nend\r\n'), '3 of 3\nend\r\n')
})

test('parameters go behind their cell, and are refused without one', () => {
  const notebook: Notebook = { cells: [{ id: 'a', cell_type: 'code', metadata: { tags: ['parameters'] }, source: 'let n = 1' }], metadata: {}, nbformat: 4, nbformat_minor: 5 }
  injectParameters(notebook, { n: 2, name: 'x"y' })
  assert.deepEqual([notebook.cells[1].source, notebook.cells[1].metadata.tags], ['n = 2\nname = "x\\"y"', ['injected-parameters']])
  assert.throws(() => injectParameters({ ...notebook, cells: [] }, { n: 1 }), { code: 'notebook.parameters' })
})

test('kernel and lab extension are installed and removed where it is asked', (t) => {
  const prefix = temporaryFolder(t)
  const { kernel, extension } = install({ prefix })
  assert.equal(kernel, path.join(prefix, 'share', 'jupyter', 'kernels', 'fettle'))
  assert.equal(extension, path.join(prefix, 'share', 'jupyter', 'labextensions', 'fettle-lab'))
  const spec = JSON.parse(fs.readFileSync(path.join(kernel, 'kernel.json'), 'utf8'))
  assert.deepEqual([spec.language, spec.argv.at(-1), fs.existsSync(spec.argv[1])], ['typescript', '{connection_file}', true])
  assert.ok(fs.existsSync(path.join(kernel, 'logo-64x64.png')))
  const { jupyterlab } = JSON.parse(fs.readFileSync(path.join(extension, 'package.json'), 'utf8'))
  assert.ok(fs.existsSync(path.join(extension, jupyterlab._build.load)))
  // An older version leaves nothing behind.
  fs.writeFileSync(path.join(extension, 'static', 'old.js'), '')
  install({ prefix })
  assert.ok(!fs.existsSync(path.join(extension, 'static', 'old.js')))
  assert.deepEqual(remove({ prefix }), [kernel, extension])
  assert.deepEqual(remove({ prefix }), [])
  for (const [folder, file, text] of [[kernel, 'kernel.json', '{"display_name":"another"}'], [extension, 'package.json', '{"name":"another"}']]) {
    fs.mkdirSync(folder, { recursive: true })
    fs.writeFileSync(path.join(folder, file), text)
    assert.throws(() => install({ prefix }), { code: 'kernel.foreign' })
    assert.deepEqual(remove({ prefix }), [])
    fs.rmSync(folder, { recursive: true })
  }
})

test('the command installs, lists, removes, and says what it expects', (t) => {
  const prefix = temporaryFolder(t)
  const run = (...args: string[]) => execFileSync(process.execPath, [command, ...args], { encoding: 'utf8', env: { ...process.env, JUPYTER_DATA_DIR: path.join(prefix, 'share', 'jupyter') } })
  assert.match(run('install', '--prefix', prefix), /installed the kernel "fettle" in .*\nand the lab extension in /)
  assert.match(run('list'), /user: kernel in .*\nuser: lab extension in /)
  assert.match(run('remove', '--prefix', prefix), /removed .*fettle\nand .*fettle-lab/)
  assert.match(run('remove', '--prefix', prefix), /nothing to remove/)
  for (const args of [['launch'], ['install', '--user', '--sys-prefix'], ['run'], ['install', '--wat'], ['run', 'x.ipynb', '--timeout', 'soon']]) {
    const { status, stderr } = spawnSync(process.execPath, [command, ...args], { encoding: 'utf8' })
    assert.equal(status, 2, `${args.join(' ')}: ${stderr}`)
    assert.match(stderr, /see: npx fettle-kernel --help/)
  }
})

test('a page loses what it would fetch from elsewhere, and nothing else', () => {
  const page = '<script src="https://cdn.example/a.js"></script><script>let a = 1</script><link rel="stylesheet" href="https://x.y/z.css"><script type="module">import m from "https://cdn/m.mjs"</script>'
  assert.equal(withoutRemote(page), '<script>let a = 1</script>')
})
