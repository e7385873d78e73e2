import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repoRoot } from '../../support/paths'

const folder = mkdtempSync(join(tmpdir(), 'fettle-setup-'))
after(() => rmSync(folder, { recursive: true }))
const setupFolder = join(repoRoot, 'native', 'setup')

function node(args: string[], env: Record<string, string | undefined> = {}) {
  const result = spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, ...env }, timeout: 60000 })
  return { status: result.status, text: result.stdout + result.stderr }
}

/** A folder that looks like the torch of a version. */
function fakeTorch(version: string): string {
  const torch = join(folder, `torch-${version}`)
  mkdirSync(join(torch, 'lib'), { recursive: true })
  mkdirSync(join(torch, 'include', 'ATen', 'core'), { recursive: true })
  writeFileSync(join(torch, 'lib', 'libtorch_cpu.so'), '')
  writeFileSync(join(torch, 'include', 'ATen', 'core', 'Tensor.h'), '')
  writeFileSync(join(torch, 'version.py'), `__version__ = '${version}'\n`)
  return torch
}

const find = (env: Record<string, string | undefined>) =>
  JSON.parse(node(['-p', `JSON.stringify(require('${join(setupFolder, 'find.cjs')}').findLibtorch())`], { FETTLE_LIBTORCH: undefined, LIBTORCH: undefined, FETTLE_HOME: folder, VIRTUAL_ENV: undefined, CONDA_PREFIX: undefined, ...env }).text) as {
    folder?: string
    source?: string
    version?: string
    rejected: { source: string; reason: string }[]
  }

test('libtorch is looked for in the documented order', () => {
  const [a, b] = [fakeTorch('2.12.1+cpu'), fakeTorch('2.15.0')]
  assert.equal(find({ FETTLE_LIBTORCH: a, LIBTORCH: b }).source, 'FETTLE_LIBTORCH')
  assert.equal(find({ FETTLE_LIBTORCH: a }).version, '2.12.1+cpu')
  assert.equal(find({ LIBTORCH: b }).source, 'LIBTORCH')
})

test('a named libtorch that cannot serve is an error, not passed over', () => {
  const found = find({ FETTLE_LIBTORCH: fakeTorch('2.9.1'), LIBTORCH: fakeTorch('2.15.0') })
  assert.equal(found.folder, undefined)
  assert.match(found.rejected[0].reason, /2\.9\.1, need 2\.10 to 2\.15/)
  assert.match(find({ FETTLE_LIBTORCH: '/nowhere' }).rejected[0].reason, /no lib\/libtorch_cpu\.so/)
})

test('what is missing is said in one line, with how to get it', () => {
  const empty = { PATH: folder, FETTLE_HOME: join(folder, 'home'), FETTLE_LIBTORCH: undefined, LIBTORCH: undefined, VIRTUAL_ENV: undefined, CONDA_PREFIX: undefined, CXX: undefined }
  const { status, text } = node([join(setupFolder, 'setup.mjs')], empty)
  assert.equal(status, 1)
  assert.match(text.trim(), /^no C\+\+ compiler found: .*install.*$/)
  const python = node(['--input-type=module', '-e', `import { checkPython } from '${join(setupFolder, 'tools.mjs')}'; try { checkPython(['pip']) } catch (e) { console.log(e.message) }`], empty)
  assert.match(python.text.trim(), /^no python3 found.*install.*$/)
})

test('an unknown option or part is refused', () => {
  assert.match(node([join(setupFolder, 'setup.mjs'), '--wiht', 'lab']).text, /unknown option --wiht/)
  assert.match(node([join(setupFolder, 'setup.mjs'), '--with', 'labs']).text, /unknown part 'labs'; expected jupyter, lab, browser/)
})

test('two set-ups beside each other take turns, and a stale lock is taken over', async () => {
  const lock = join(folder, 'turns.lock'), log = join(folder, 'turns.log')
  writeFileSync(lock, '999999999')
  writeFileSync(log, '')
  const code = `import { locked } from '${join(setupFolder, 'stages.mjs')}'; import { appendFileSync } from 'node:fs'
    await locked('${lock}', async () => { appendFileSync('${log}', '['); await new Promise((r) => setTimeout(r, 100)); appendFileSync('${log}', ']') })`
  const runs = [1, 2, 3, 4, 5].map(() => new Promise((resolve) => spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'ignore' }).on('close', resolve)))
  assert.deepEqual(await Promise.all(runs), [0, 0, 0, 0, 0])
  assert.equal(readFileSync(log, 'utf8'), '[][][][][]')
})

test('packages count as installed only at the versions of the lock file', () => {
  const root = join(folder, 'project')
  const write = (file: string, value: unknown) => {
    mkdirSync(join(root, file, '..'), { recursive: true })
    writeFileSync(join(root, file), JSON.stringify(value))
  }
  const check = () => node(['--input-type=module', '-e', `import { packagesInstalled } from '${join(setupFolder, 'packages.mjs')}'; console.log(packagesInstalled('${root}'))`]).text.trim()
  write('package-lock.json', { packages: { '': {}, sdk: {}, 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { version: '2.0.0', optional: true } } })
  assert.equal(check(), 'false')
  write('node_modules/a/package.json', {})
  write('node_modules/.package-lock.json', { packages: { 'node_modules/a': { version: '1.0.0' } } })
  assert.equal(check(), 'true')
  write('node_modules/.package-lock.json', { packages: { 'node_modules/a': { version: '1.0.1' } } })
  assert.equal(check(), 'false')
})
