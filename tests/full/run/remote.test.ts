import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { attach, sft } from 'fettle'
import { addressOf, readAddress } from 'fettle/dist/run/remote/address'
import { fakeSsh } from '../../support/launch'
import { endingRun, farFolder, remoteStory } from '../../support/remote'
import { leaving, reached, script } from '../../support/runs'
import { temporaryFolder } from '../../support/tiny'

/** `ssh` is the double from here on, in this process and those that it starts. */
function withFakeSsh(t: TestContext): ReturnType<typeof fakeSsh> {
  const ssh = fakeSsh(temporaryFolder(t)), before = process.env.PATH
  process.env.PATH = ssh.env.PATH
  t.after(() => { process.env.PATH = before })
  return ssh
}

test('an address names host, port and folder, and nothing that ssh could read as an option', () => {
  const cases: [string, string, string | null, string][] = [
    ['ssh://a/out', 'a', null, '/out'], ['ssh://me@b.site.org:2222/a b/%20?#', 'me@b.site.org', '2222', '/a b/%20?#'],
    ["ssh://a/it's; $(x)", 'a', null, "/it's; $(x)"], ['ssh://me@[fd00::2]:22/x', 'me@fd00::2', '22', '/x'],
  ]
  for (const [text, target, port, path] of cases) {
    assert.deepEqual(readAddress(text), { target, port, path })
    assert.equal(addressOf({ target, port }, path), text)
  }
  assert.equal(readAddress('ssh://a/~/out').path, '~/out')
  for (const text of ['ssh://', 'ssh://a', 'ssh://a/', 'ssh:///x', 'ssh://-oProxyCommand=x/y', 'ssh://-l@a/y', 'ssh://a b/y', 'ssh://a:x/y', 'ssh://a;id/y']) {
    assert.throws(() => readAddress(text), { code: 'plan.value' }, text)
  }
})

test('a run on another host: events, controls, a lost connection, another one, a stop with a checkpoint', async (t) => {
  const ssh = withFakeSsh(t)
  await remoteStory(t, 'me@node1', {})
  for (const words of ssh.calls()) assert.deepEqual(words.slice(0, -1), ['-o', 'BatchMode=yes', '-o', 'ServerAliveInterval=15', 'me@node1'])
})

test('a run on another host outlives the process that started it', async (t) => {
  withFakeSsh(t)
  const { far, builder } = farFolder(t)
  const notebook = script(t, `const { start } = require('fettle')
start(JSON.parse(process.argv[1]), { hosts: ['node1:2'], cwd: process.argv[2] }).then((run) => console.log(run.dir))`, JSON.stringify(builder.plan), far)
  const dir = await notebook.line
  endingRun(t, dir)
  notebook.child.kill('SIGKILL')
  await notebook.exit
  const run = leaving(t, await attach(dir))
  await reached(run, 'step', 2)
  assert.equal((await run.stop()).stopped, true)
})

test('the history of a run that is over comes as it is here', async (t) => {
  withFakeSsh(t)
  const folder = fs.realpathSync(temporaryFolder(t)), time = Date.now()
  const step = { type: 'step', time, step: 1, totalSteps: 9, epoch: 0, loss: null, learningRate: 1, gradNorm: 1, tokens: 1, supervised: 1, ms: 1, tokensPerSecond: 1, memory: 1, faults: 0, utilisation: 0.9 }
  const failed = { type: 'failed', time, run: 'abc', error: { name: 'DataError', code: 'data.line', message: 'bad line' } }
  fs.writeFileSync(path.join(folder, 'metrics.jsonl'), [step, ...Array.from({ length: 2000 }, () => ({ ...step, loss: 2 })), failed].map((event) => `${JSON.stringify(event)}\n`).join(''))
  // A greeting of the far end's shell, without a line end.
  const program = path.join(folder, 'fettle')
  fs.writeFileSync(program, `#!/bin/sh\nprintf 'Welcome!'\nexec ${process.execPath} ${path.resolve('sdk/bin/fettle.js')} "$@"\n`, { mode: 0o755 })
  const run = leaving(t, await attach(`ssh://node1${folder}`, { program, interval: 50 })), here = leaving(t, await attach(folder))
  assert.deepEqual([run.state, run.id, run.events.length], ['failed', 'abc', 2002])
  assert.deepEqual(run.events, here.events)
  await assert.rejects(here.done, { code: 'data.line' })
  await assert.rejects(run.done, { name: 'DataError', code: 'data.line', message: 'node1: bad line' })
  assert.equal(run.plan, null)
  await assert.rejects(run.generate('x'), { code: 'worker.gone', message: /^node1: .*failed/ })
})

test('what another host lacks or refuses is a typed error with its words', async (t) => {
  withFakeSsh(t)
  const { far, builder } = farFolder(t), hosts = ['node1:2'], nowhere = path.join(far, 'nowhere')
  const is = (code: string, message: RegExp) => ({ code, message })
  await assert.rejects(attach(`ssh://node1${far}`), is('run.noLog', /^node1: expected metrics\.jsonl in .*it's far/))
  await assert.rejects(attach(`ssh://node1${far}`, { ssh: '/nowhere/ssh' }), is('remote.ssh', /cannot run \/nowhere\/ssh/))
  await assert.rejects(attach(`ssh://node1${far}`, { program: `"${nowhere}"` }), is('remote.program', /expected Fettle on node1[^]*not found/))
  const refusing = path.join(far, 'refusing')
  fs.writeFileSync(refusing, '#!/bin/sh\necho Permission denied >&2\nexit 255\n', { mode: 0o755 })
  await assert.rejects(builder.start({ hosts, cwd: far, ssh: `"${refusing}"` }), is('remote.ssh', /does not reach node1[^]*Permission denied/))
  await assert.rejects(builder.start({ hosts, cwd: nowhere }), is('remote.folder', /on node1, found none/))
  await assert.rejects(builder.data('none').start({ hosts, cwd: far }), is('data.not-found', /^node1: none/))
  // The other hosts are asked before anything starts.
  const second = path.join(far, 'second')
  fs.writeFileSync(second, `#!/bin/sh\n[ "$1" = --version ] && exit 9\nexec ${process.execPath} ${path.resolve('sdk/bin/fettle.js')} "$@"\n`, { mode: 0o755 })
  await assert.rejects(builder.start({ hosts: ['node1', 'node2'], cwd: far, program: `"${second}"` }), is('remote.program', /^node1: expected Fettle on node2.*code 9/))
  assert.ok(!fs.existsSync(path.join(far, 'out')))
  fs.mkdirSync(path.join(far, 'out', 'checkpoint-1'), { recursive: true })
  await assert.rejects(builder.start({ hosts, cwd: far }), is('plan.outputNotEmpty', /^node1: expected an output folder without an earlier run/))
})

test('what cannot be right is refused here', async () => {
  const builder = sft('model').data('data').tp(2)
  await assert.rejects(builder.start({ hosts: ['a'] }), { code: 'mesh.ranks' })
  await assert.rejects(builder.start({ hosts: [] }), { code: 'plan.value', message: /hosts of \.start\(\)/ })
  await assert.rejects(builder.start({ hosts: ['-oProxyCommand=x'] }), { code: 'plan.value' })
  await assert.rejects(builder.start({ hosts: ['a:2'], detached: true } as never), { code: 'plan.unknown', message: /detached/ })
  await assert.rejects(builder.start({ hosts: ['a:2'], ssh: 5 } as never), { code: 'plan.value' })
  await assert.rejects(attach('ssh://a'), { code: 'plan.value', message: /ssh:\/\/HOST\/PATH/ })
})
