import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { exitMeanings } from 'fettle/dist/cli/exit'
import { fields } from 'fettle/dist/plan/arguments'
import { repoRoot } from '../../support/paths'

const bin = path.join(repoRoot, 'sdk', 'bin', 'fettle.js')
const fettle = (args: string[], options: { input?: string; env?: Record<string, string> } = {}) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', input: options.input ?? '', env: { ...process.env, FETTLE_DEBUG: '', ...options.env } })
  return { status, stdout, stderr }
}
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-cli-'))
process.on('exit', () => fs.rmSync(temporary, { recursive: true, force: true }))
const file = (name: string, text: string) => {
  fs.writeFileSync(path.join(temporary, name), text)
  return path.join(temporary, name)
}

test('help lists every command and every exit code', () => {
  const { status, stdout, stderr } = fettle(['help'])
  assert.equal(status, 0)
  assert.equal(stderr, '')
  for (const name of ['run', 'generate', 'chat', 'merge-lora', 'tokenize', 'trace', 'doctor', 'help']) assert.match(stdout, new RegExp(`^  ${name} +\\S`, 'm'))
  for (const code of [0, 1, 2, 3, 4, 5, 6, 130, 143]) assert.match(stdout, new RegExp(`^ +${code}  \\S`, 'm'))
  assert.equal(fettle(['--help']).stdout, stdout)
  assert.deepEqual([fettle([]).status, fettle([]).stdout], [2, stdout])
})

test('help of a command shows its flags; of run, the whole argument table', () => {
  assert.match(fettle(['help', 'trace']).stdout, /--weight-decay X/)
  assert.equal(fettle(['trace', '--help']).stdout, fettle(['help', 'trace']).stdout)
  const { stdout } = fettle(['help', 'run'])
  assert.match(stdout, /--learning_rate \(0\.00005\)/)
  assert.match(stdout, /--optim \("adamw"\)\n +not there yet: use adamw/)
})

test('--version is the version of the package', () => {
  const { version } = JSON.parse(fs.readFileSync(path.join(repoRoot, 'sdk', 'package.json'), 'utf8'))
  assert.equal(fettle(['--version']).stdout, `${version}\n`)
})

test('what nobody knows is answered with the nearest name and exit code 2', () => {
  const cases: [string[], RegExp][] = [
    [['genrate'], /try generate/], [['--lora'], /expected a command before --lora/], [['run', '--lora_rnk', '8'], /try --lora_rank/],
    [['generate', 'm', '--max-tokens', '5'], /try --max-new-tokens/], [['trace', '--out'], /expected a value for --out/], [['help', 'tokenise'], /try tokenize/],
    [['generate'], /expected MODEL/], [['generate', 'm', 'n'], /expected nothing after MODEL/], [['generate', 'm'], /one of --chat, --prompt and --ids, got none/],
    [['generate', 'm', '--ids', '1', '--prompt', 'a'], /got --prompt and --ids/], [['generate', 'm', '--top-p', '2'], /above 0 and at most 1/],
    [['generate', 'm', '--seed', 'x'], /for --seed, got "x"/], [['generate', 'm', '--seed', '1', '--seed', '2'], /given twice/], [['doctor', 'maybe'], /expected nothing/],
    [['tokenize', 'm'], /expected --json for fettle tokenize, got nothing/],
    ...[['--lr', '1e-3'], ['--weight-decay', '0.1'], ['--merge']].map((flags): [string[], RegExp] => [['trace', 'm', '--inputs', 'i', '--out', 'o', ...flags], new RegExp(`${flags[0]} has no effect without --`)]),
  ]
  for (const [args, pattern] of cases) {
    const { status, stdout, stderr } = fettle(args)
    assert.match(stderr, pattern, args.join(' '))
    assert.match(stderr, /^error: [^\n]*\n( {2}[^\n]*\n)*$/)
    assert.equal(status, 2, args.join(' '))
    assert.equal(stdout, '')
  }
})

test('an error is one block: what, where, what to do; the stack only on demand', () => {
  const args = file('sft.json', '{\n  "model_name_or_path": "m",\n  "learning_rate": "3e-05"\n}')
  const { stderr, status } = fettle(['run', args])
  assert.equal(status, 2)
  assert.equal(stderr, `error: expected a number above 0 for learning_rate, got "3e-05"\n  at ${args}:3:3\n  try "learning_rate": 0.00003\n  (plan.value)\n`)
  assert.match(fettle(['run', args, '--debug']).stderr, /\n +at .*refuse/)
  assert.match(fettle(['run', args], { env: { FETTLE_DEBUG: '1' } }).stderr, /\n +at .*refuse/)
})

test('exit codes tell plan, data and model apart', () => {
  const out = path.join(temporary, 'out')
  const data = path.join(temporary, 'data')
  fs.mkdirSync(data)
  fs.writeFileSync(path.join(data, 'train.json'), '{"src": "a", "tgt": "b"}\n')
  const common = ['--output_dir', out, '--do_train', '--model_name_or_path', path.join(temporary, 'nowhere')]
  assert.equal(fettle(['run', path.join(temporary, 'none.json')]).status, 2)
  assert.equal(fettle(['run', ...common, '--dataset_name_or_path', path.join(temporary, 'none')]).status, 3)
  const noCheckpoint = fettle(['run', ...common, '--dataset_name_or_path', data, '--resume_from_checkpoint', path.join(temporary, 'nope')])
  assert.equal(noCheckpoint.status, 2, noCheckpoint.stderr)
  assert.match(noCheckpoint.stderr, /expected a checkpoint at .*nope, found nothing/)
  const noDev = fettle(['run', ...common, '--dataset_name_or_path', data, '--do_eval'])
  assert.equal(noDev.status, 3)
  assert.match(noDev.stderr, /has no dev data/)
  assert.ok(!fs.existsSync(out), 'nothing was made')
  assert.equal(fettle(['generate', path.join(temporary, 'nowhere'), '--ids', '1']).status, 4)
  assert.equal(fettle(['tokenize', path.join(temporary, 'nowhere'), '--json', file('bad.json', '["a", 3]')]).status, 3)
})

test('--json puts errors where machines read', () => {
  const { stdout, stderr } = fettle(['generate', path.join(temporary, 'nowhere'), '--ids', '1', '--json'])
  assert.equal(JSON.parse(stdout).error.name, 'ModelError')
  assert.match(stderr, /^error: /)
})

test('a reader that leaves ends the command quietly', async () => {
  const child = spawn('bash', ['-c', `${process.execPath} ${bin} help run | head -1`], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = '', err = ''
  child.stdout.on('data', (data) => { out += data })
  child.stderr.on('data', (data) => { err += data })
  await new Promise((resolve) => child.on('close', resolve))
  assert.match(out, /^fettle run/)
  assert.equal(err, '')
})

test('the front never loads the addon', () => {
  const script = "const f = require('fettle'); f.sft('m').data('d').lora(); f.parseArguments({ model_name_or_path: 'm', dataset_name_or_path: 'd', output_dir: 'o', do_train: true }); const seen = Object.keys(require.cache).filter((n) => n.endsWith('.node')); console.log(JSON.stringify(seen))"
  const { stdout } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', cwd: repoRoot })
  assert.deepEqual(JSON.parse(stdout), [])
})

test('the page about the command line has every argument with its default, and every exit code', () => {
  const page = fs.readFileSync(path.join(repoRoot, 'docs', 'command-line.md'), 'utf8')
  for (const { name, default: initial } of fields) assert.ok(page.split('\n').some((line) => line.startsWith(`| \`${name}\``) && line.includes(`| \`${JSON.stringify(initial)}\` |`)), name)
  for (const [code, meaning] of exitMeanings) assert.ok(page.includes(`| ${code} | ${meaning} |`), String(code))
})
