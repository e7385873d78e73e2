import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { NotebookError, readNotebook, runNotebook, startServer } from 'fettle-kernel'
import { jupyterPython } from 'fettle-kernel/dist/driver/server'
import { notebookOf } from '../../support/notebook'
import { temporaryFolder } from '../../support/tiny'

/** Jupyter's own opinion on a notebook. */
function validate(file: string): void {
  execFileSync(jupyterPython(), ['-c', 'import sys, nbformat; nbformat.validate(nbformat.read(sys.argv[1], as_version=4))', file], { stdio: 'pipe' })
}

test('a notebook runs from Node and is saved as Jupyter would save it', async (t) => {
  const folder = temporaryFolder(t)
  const file = notebookOf(folder, [
    'console.log("a")\nconsole.log("b")\nconsole.error("c")',
    'import { newDisplay } from "tslab"\nconst shown = newDisplay()\nshown.html("<b>first</b>")',
    'shown.html("<b>second</b>")\n40 + 2',
    'for (const done of [1, 2, 3]) { process.stdout.write(`\\r${done} of 3`) }',
  ])
  const before = fs.readFileSync(file, 'utf8')
  const output = path.join(folder, 'out', 'executed.ipynb')
  const seen: string[] = []
  await runNotebook(file, { output, onOutput: ({ cell, output, update }) => seen.push(`${cell} ${output.output_type}${update ? ' update' : ''}`) })
  assert.equal(fs.readFileSync(file, 'utf8'), before)
  validate(output)
  const cells = JSON.parse(fs.readFileSync(output, 'utf8')).cells
  assert.deepEqual(cells[0].outputs, [{ output_type: 'stream', name: 'stdout', text: ['a\n', 'b\n'] }, { output_type: 'stream', name: 'stderr', text: ['c\n'] }])
  // The display of the second cell was changed by the third.
  assert.deepEqual(cells[1].outputs[0].data['text/html'], ['<b>second</b>'])
  assert.deepEqual(cells[2].outputs[0], { output_type: 'execute_result', data: { 'text/plain': ['42'] }, metadata: {}, execution_count: 3 })
  assert.deepEqual(cells[3].outputs[0].text, ['3 of 3'])
  assert.ok(seen.includes('1 display_data update'))
})

test('parameters reach the tagged cell, a server that is given is used, an error ends the run', async (t) => {
  const folder = temporaryFolder(t)
  const file = notebookOf(folder, ['let steps = 300', 'console.log(steps)', 'throw new TypeError("not today")', 'console.log("never")'])
  const notebook = JSON.parse(fs.readFileSync(file, 'utf8'))
  notebook.cells[0].metadata.tags = ['parameters']
  fs.writeFileSync(file, JSON.stringify(notebook))
  const server = await startServer({ root: folder })
  t.after(() => server.stop())
  const output = path.join(folder, 'failed.ipynb')
  await assert.rejects(runNotebook(file, { output, server: server.url, token: server.token, parameters: { steps: 7 } }), (error) => {
    assert.ok(error instanceof NotebookError)
    assert.equal(error.code, 'notebook.cell')
    assert.deepEqual([error.details.cell, error.details.ename, error.details.evalue], [3, 'TypeError', 'not today'])
    return true
  })
  validate(output)
  const saved = readNotebook(output)
  assert.equal(saved.cells[1].source, 'steps = 7')
  const outputs = JSON.parse(fs.readFileSync(output, 'utf8')).cells.map((cell: { outputs: { output_type: string }[] }) => cell.outputs.map((o) => o.output_type))
  assert.deepEqual(outputs, [[], [], ['stream'], ['error'], []])
  const running = await (await fetch(`${server.url}api/kernels`, { headers: { Authorization: `token ${server.token}` } })).json()
  assert.deepEqual(running, [], 'the kernel was shut down')
})

test('a cell that takes too long is interrupted', async (t) => {
  const folder = temporaryFolder(t)
  const file = notebookOf(folder, ['await new Promise(() => {})'])
  await assert.rejects(runNotebook(file, { timeout: 1_000 }), { code: 'notebook.timeout' })
})

test('what is no notebook is refused with what to do', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'x.ipynb')
  fs.writeFileSync(file, '{"nbformat": 3}')
  await assert.rejects(runNotebook(file), { code: 'notebook.format' })
  await assert.rejects(runNotebook(path.join(folder, 'absent.ipynb')), { code: 'notebook.file' })
  await assert.rejects(runNotebook(notebookOf(folder, ['1']), { parameters: { a: 1 } }), { code: 'notebook.parameters' })
})

test('a server that is not there, a wrong token and a kernel that it does not have are told apart', async (t) => {
  const folder = temporaryFolder(t)
  const file = notebookOf(folder, ['1'])
  const output = path.join(folder, 'out.ipynb')
  const server = await startServer({ root: folder })
  t.after(() => server.stop())
  const refused = (options: object, code: string, message: RegExp) => assert.rejects(runNotebook(file, { output, ...options }), (error: unknown) => {
    assert.ok(error instanceof NotebookError)
    assert.equal(error.code, code)
    assert.match(error.message, message)
    return true
  })
  await refused({ server: 'http://127.0.0.1:9/', token: 'x' }, 'notebook.server', /no Jupyter server answers at http:\/\/127\.0\.0\.1:9\/.*check the address/)
  await refused({ server: server.url, token: 'wrong' }, 'notebook.token', /refuses the token \(403\)/)
  await refused({ server: server.url, token: server.token, kernel: 'julia' }, 'notebook.kernel', /no kernel "julia" \(it has .*fettle/)
  // An address without its last slash is the same address; the caller lives on after the refusals.
  await runNotebook(file, { output, server: server.url.replace(/\/$/, ''), token: server.token })
  assert.equal(readNotebook(output).cells.length, 1)
})

test('a cell that may fail does not end the run, and parameters leave no output', async (t) => {
  const folder = temporaryFolder(t)
  const file = notebookOf(folder, ['let steps = 1', 'throw new RangeError("wanted")', 'steps'])
  const notebook = JSON.parse(fs.readFileSync(file, 'utf8'))
  notebook.cells[0].metadata.tags = ['parameters']
  notebook.cells[1].metadata.tags = ['raises-exception']
  fs.writeFileSync(file, JSON.stringify(notebook))
  const output = path.join(folder, 'out.ipynb')
  await runNotebook(file, { output, parameters: { steps: 7 } })
  validate(output)
  const { cells } = JSON.parse(fs.readFileSync(output, 'utf8'))
  assert.deepEqual(cells.map((cell: { outputs: { output_type: string }[] }) => cell.outputs.map((shown) => shown.output_type)), [[], [], ['error'], ['execute_result']])
  assert.deepEqual(cells[3].outputs[0].data['text/plain'], ['7'])
  delete notebook.cells[1].metadata.tags
  fs.writeFileSync(file, JSON.stringify(notebook))
  await assert.rejects(runNotebook(file, { output }), /RangeError: wanted/)
  await runNotebook(file, { output, allowErrors: true })
})
