import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { localCommands, nodeFromEnvironment, rankFromEnvironment, ranksOfNode, readMachine } from 'fettle/dist/parallel/launch'
import { quote, splitWords } from 'fettle/dist/parallel/launch/shell'
import { parseHosts } from 'fettle/dist/parallel/launch/hosts'
import { supervise } from 'fettle/dist/parallel/launch/supervise'
import type { RankCommand } from 'fettle/dist/parallel/launch/rank-process'
import { byRank, fakeSsh, fettle, plainEnvironment, writeProbe } from '../../support/launch'
import { temporaryFolder } from '../../support/tiny'

const nasty = ['plain', '', 'a b', "it's", '"', '$HOME', '`id`', '$(touch x)', 'a;b', 'a&b', '*', '\\', 'ü\n2', '--flag=é', '!x', '~']

test('quoted words are those words again in sh, bash and nothing runs in them', () => {
  for (const shell of ['sh', 'bash']) {
    const { stdout } = spawnSync(shell, ['-c', `${quote(process.execPath)} -e 'console.log(JSON.stringify(process.argv.slice(1)))' -- ${nasty.map(quote).join(' ')}`], { encoding: 'utf8' })
    assert.deepEqual(JSON.parse(stdout), nasty)
  }
})

test('a command that a person wrote is taken apart at spaces that no quotes hold', () => {
  assert.deepEqual(splitWords(`ssh -o 'Proxy Command=a b' -i "/my key"/id x`, '--ssh'), ['ssh', '-o', 'Proxy Command=a b', '-i', '/my key/id', 'x'])
  for (const text of ['', ' ', `ssh 'open`]) assert.throws(() => splitWords(text, '--ssh'), { code: 'plan.value' })
})

test('hosts with slots; nothing that ssh could read as an option', () => {
  assert.deepEqual(parseHosts('a,me@b.site.org:4, [fd00::2]:2'), [
    { target: 'a', address: 'a', slots: 1 }, { target: 'me@b.site.org', address: 'b.site.org', slots: 4 }, { target: 'fd00::2', address: 'fd00::2', slots: 2 }])
  for (const text of ['', 'a,', '-oProxyCommand=x', '-l@a', 'a b', 'a:0', 'a:x', 'a;id', '$(id)']) assert.throws(() => parseHosts(text), { code: 'plan.value' }, text)
  assert.throws(() => parseHosts('a,me@a'), { code: 'plan.conflict', message: /a:2/ })
})

test('fettle launch --ranks starts ranks here, marks their lines and gives their code', async () => {
  const { code, stdout, stderr } = await fettle(['launch', '--ranks', '2', '--', 'models', 'llama'])
  assert.equal(code, 0, stderr)
  const lines = stdout.trim().split('\n')
  const of = (rank: number) => lines.filter((line) => line.startsWith(`[${rank}] `)).map((line) => line.slice(4))
  assert.ok(of(0).length > 3)
  assert.deepEqual(of(0), of(1))
  assert.equal(of(0).length + of(1).length, lines.length)
})

test('a machine of several, as a pod is one, starts its own ranks', async () => {
  const pod = { FETTLE_NODES: '2', JOB_COMPLETION_INDEX: '1', FETTLE_RANKS_PER_NODE: '2', FETTLE_MASTER_ADDR: 'tune-0.tune' }
  const { code, stdout, stderr } = await fettle(['launch', '--', 'models', 'llama'], plainEnvironment(pod))
  assert.equal(code, 0, stderr)
  assert.deepEqual([...new Set(stdout.trim().split('\n').map((line) => line.slice(0, 3)))].sort(), ['[2]', '[3]'])
  const commands = localCommands(ranksOfNode(nodeFromEnvironment(pod)!, 2), ['run', 'a.json'], readMachine(), { ...pod, OMP_NUM_THREADS: '7' })
  assert.deepEqual(commands.map(({ env }) => rankFromEnvironment(env)), [0, 1].map((localRank) => ({
    rank: 2 + localRank, worldSize: 4, localRank, localWorldSize: 2, masterAddress: 'tune-0.tune', masterPort: 29500, source: 'fettle' })))
  assert.equal(commands[0].env.OMP_NUM_THREADS, '7')
})

test('with --json stdout is rank 0 alone, unmarked', async () => {
  const { code, stdout, stderr } = await fettle(['launch', '--json', '--ranks', '2', '--', 'models', '--json'])
  assert.equal(code, 0)
  assert.ok(JSON.parse(stdout))
  assert.match(stderr, /^\[1\] /m)
})

test('over ssh: a connection a rank, with the variables of its rank, its folder, and its words as they are', async (t) => {
  const folder = temporaryFolder(t), ssh = fakeSsh(folder), cwd = path.join(folder, "it's here")
  fs.mkdirSync(cwd)
  const args = ['launch', '--hosts', 'node1:2,me@node2', '--ssh', 'ssh -p 2222', '--program', `'${process.execPath}' '${writeProbe(folder)}'`, '--cwd', cwd, '--env', 'TOKEN', '--port', '29600', '--', ...nasty]
  const { code, stdout, stderr } = await fettle(args, plainEnvironment({ ...ssh.env, TOKEN: "s3c'ret $HOME" }))
  assert.equal(code, 0, stderr)
  const found = byRank(stdout)
  assert.deepEqual(Object.keys(found).sort(), ['node1 0', 'node1 1', 'node2 2'])
  const { rank, ...rest } = found['node2 2']
  assert.deepEqual(rest, { cwd, words: nasty, token: "s3c'ret $HOME" })
  assert.deepEqual({ ...rank, runId: '' }, { rank: 2, worldSize: 3, localRank: 0, localWorldSize: 1, masterAddress: 'node1', masterPort: 29600, source: 'fettle', runId: '' })
  // Process lists show every user the command lines, so values do not stand in them.
  assert.ok(!ssh.calls().flat().some((word) => word.includes('s3c')))
  assert.deepEqual([found['node1 1'].rank.localRank, found['node1 1'].rank.localWorldSize], [1, 2])
  assert.deepEqual(ssh.calls().map((words) => words.slice(0, -1)).sort(), [['-p', '2222', 'me@node2'], ['-p', '2222', 'node1'], ['-p', '2222', 'node1']])
})

test('the first failure ends the others, and its code is the result', async (t) => {
  const folder = temporaryFolder(t), ssh = fakeSsh(folder)
  const probe = writeProbe(folder, 'if (rank.rank === 1) process.exit(7)\nprocess.on("SIGTERM", () => { console.log("{}"); process.exit(0) })\nsetTimeout(() => {}, 60_000)')
  const { code, stderr, ms } = await fettle(['launch', '--hosts', 'node1,node2', '--program', `'${process.execPath}' '${probe}'`, '--', 'x'], plainEnvironment(ssh.env))
  assert.equal(code, 7)
  assert.match(stderr, /launch: rank 1 \(node2 1\) ended with code 7; ending the others/)
  assert.ok(ms < 20_000)
})

for (const [signal, expected] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
  test(`${signal} reaches every rank once, as SIGTERM, and the result is ${expected}`, async (t) => {
    const folder = temporaryFolder(t), ssh = fakeSsh(folder)
    const probe = writeProbe(folder, 'process.on("SIGTERM", () => { console.log(JSON.stringify("ending")); setTimeout(() => process.exit(143), 300) })\nsetTimeout(() => {}, 60_000)')
    let told = false
    const { code, stdout } = await fettle(['launch', '--hosts', 'node1,node2', '--program', `'${process.execPath}' '${probe}'`, '--', 'x'], plainEnvironment(ssh.env), (output, pid) => {
      if (told || output.split('\n').length < 3) return
      told = true
      process.kill(pid, signal)
    })
    assert.equal(code, expected)
    assert.deepEqual(stdout.trim().split('\n').filter((line) => line.endsWith('"ending"')).sort(), ['[node1 0] "ending"', '[node2 1] "ending"'])
  })
}

/** Node with a script, as a rank. */
const script = (rank: number, text: string): RankCommand => ({ rank, label: String(rank), program: process.execPath, args: ['-e', text], env: process.env, remote: false })

test('a rank that does not end when it is asked is killed after the grace', async () => {
  const lines: string[] = []
  const output = { out: (_: number, label: string, line: string) => { lines.push(`${label} ${line}`) }, err: () => { /* Nothing is expected. */ } }
  const stubborn = 'process.on("SIGTERM", () => console.log("asked")); console.log("up"); setTimeout(() => {}, 60_000)'
  const failing = 'setTimeout(() => process.exit(3), 500)'
  const started = Date.now()
  assert.equal(await supervise([script(0, stubborn), script(1, failing)], { output, grace: 500, note: () => { /* Not of interest here. */ } }), 3)
  assert.deepEqual(lines, ['0 up\n', '0 asked\n'])
  assert.ok(Date.now() - started < 10_000)
})

test('a program that is not there is an error that names it, and the other ranks end', async () => {
  const output = { out: () => { /* None. */ }, err: () => { /* None. */ } }
  const missing = { ...script(1, ''), program: '/nowhere/ssh' }
  await assert.rejects(supervise([script(0, 'setTimeout(() => {}, 60_000)'), missing], { output, grace: 1000, note: () => { /* None. */ } }), { code: 'launch.start', message: /\/nowhere\/ssh/ })
})

test('what cannot be launched is refused, with what to do', async () => {
  const cases: [string[], Record<string, string>, number, RegExp][] = [
    [[], {}, 2, /expected a command of fettle behind --/], [['--', 'run'], {}, 2, /for --ranks, got nothing/], [['--ranks', '0', '--', 'run'], {}, 2, /from 1 to 1024/],
    [['--ranks', '2', '--hosts', 'a', '--', 'run'], {}, 2, /--ranks is of this machine/], [['--ranks', '2', '--ssh', 'x', '--', 'run'], {}, 2, /no effect without --hosts/],
    [['--hosts', 'a', '--env', 'NOT_SET', '--', 'run'], {}, 2, /value of NOT_SET/], [['--hosts', 'a', '--env', 'A;B', '--', 'run'], {}, 2, /names of variables/], [['--hosts', 'a', '--env', 'TWO', '--', 'run'], { TWO: 'a\nb' }, 2, /one line in TWO/],
    [['--ranks', '2', '--', 'run'], { FETTLE_RANK: '0', FETTLE_WORLD_SIZE: '2' }, 2, /rank 0 of 2 already/],
    [['--hosts', 'localhost,b', '--', 'run'], {}, 2, /for --master, got "localhost"/], [['--hosts', 'a', '--ssh', '/nowhere/ssh', '--', 'run'], {}, 5, /\/nowhere\/ssh/],
  ]
  for (const [args, env, expected, message] of cases) {
    const { code, stderr } = await fettle(['launch', ...args], plainEnvironment(env))
    assert.match(stderr, message)
    assert.equal(code, expected, args.join(' '))
  }
})
