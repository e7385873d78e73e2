import assert from 'node:assert/strict'
import * as dns from 'node:dns/promises'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { byRank, fettle, fettleBin, plainEnvironment, writeProbe } from '../../support/launch'
import { without } from '../../support/programs'
import { endingRun, farFolder, remoteStory } from '../../support/remote'
import { gone, leaving, reached, until } from '../../support/runs'
import { startSshd } from '../../support/sshd'
import { temporaryFolder } from '../../support/tiny'

const skip = without('sshd', 'ssh', 'ssh-keygen')
const program = (probe: string) => `'${process.execPath}' '${probe}'`

test('real ssh: each rank finds its place, and words and values arrive as they are', { skip }, async (t) => {
  const ssh = await startSshd(t), folder = temporaryFolder(t)
  const words = ['a b', "it's", '$HOME', '`id`', ';', '--x']
  const { code, stdout, stderr } = await fettle(['launch', '--hosts', '127.0.0.1:2,localhost', '--master', 'node1', '--ssh', ssh, '--program', program(writeProbe(folder)), '--cwd', folder, '--env', 'TOKEN', '--', ...words], plainEnvironment({ TOKEN: "s3c'ret" }))
  assert.equal(code, 0, stderr)
  const found = byRank(stdout)
  assert.deepEqual(Object.values(found).map(({ rank }) => [rank.rank, rank.worldSize, rank.localRank, rank.localWorldSize]).sort(), [[0, 3, 0, 2], [1, 3, 1, 2], [2, 3, 0, 1]])
  for (const each of Object.values(found)) assert.deepEqual([each.words, each.token, each.cwd], [words, "s3c'ret", fs.realpathSync(folder)])
})

test('real ssh: a failure ends the ranks at the far end, and its code comes back', { skip }, async (t) => {
  const ssh = await startSshd(t), folder = temporaryFolder(t)
  const probe = writeProbe(folder, `require('fs').writeFileSync(${JSON.stringify(folder)} + '/pid' + rank.rank, String(process.pid))
if (rank.rank === 1) setTimeout(() => process.exit(9), 1500)
else { process.on('SIGTERM', () => console.log('{"asked":true}')); setTimeout(() => {}, 60_000) }`)
  const { code, stdout } = await fettle(['launch', '--hosts', '127.0.0.1,localhost', '--master', 'node1', '--ssh', ssh, '--program', program(probe), '--grace', '1', '--', 'x'])
  assert.equal(code, 9)
  assert.match(stdout, /^\[127\.0\.0\.1 0\] {"asked":true}$/m)
  const pid = Number(fs.readFileSync(path.join(folder, 'pid0'), 'utf8'))
  await gone(pid)
})

test('real ssh: a launcher that is killed leaves no rank behind', { skip }, async (t) => {
  const ssh = await startSshd(t), folder = temporaryFolder(t)
  const probe = writeProbe(folder, `require('fs').writeFileSync(${JSON.stringify(folder)} + '/pid', String(process.pid)); setTimeout(() => {}, 60_000)`)
  let killed = false
  await fettle(['launch', '--hosts', '127.0.0.1', '--ssh', ssh, '--program', program(probe), '--', 'x'], plainEnvironment(), (output, pid) => {
    if (!killed && output.includes('\n')) { killed = true; process.kill(pid, 'SIGKILL') }
  })
  await until('a rank is up', () => fs.existsSync(path.join(folder, 'pid')))
  const pid = Number(fs.readFileSync(path.join(folder, 'pid'), 'utf8'))
  await gone(pid)
})

test('real ssh: a run that a notebook starts on another host, sees and controls', { skip }, async (t) => {
  await remoteStory(t, '127.0.0.1', { ssh: await startSshd(t) })
})

test('real ssh: a rank on each of two hosts, the second reached from the first', { skip }, async (t) => {
  const ssh = await startSshd(t), { far, builder } = farFolder(t)
  try { await dns.lookup(os.hostname()) } catch { return t.skip('this machine does not know its own name') }
  // What the first host says of the way to the others stands in its environment.
  const program = `env "FETTLE_SSH=${ssh}" '${process.execPath}' '${fettleBin}'`
  const run = leaving(t, await builder.start({ hosts: ['127.0.0.1', 'localhost'], master: os.hostname(), cwd: far, ssh, program }))
  endingRun(t, run.dir, { ssh, program })
  await reached(run, 'step', 2)
  assert.equal(run.mesh.size, 2)
  assert.equal((await run.stop()).stopped, true)
})
