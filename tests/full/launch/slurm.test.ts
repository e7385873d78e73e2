import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { parseHostlist } from 'fettle/dist/parallel/launch/hostlist'
import { fettle, writeProbe } from '../../support/launch'
import { until } from '../../support/runs'
import { startSlurm, withoutSlurm, type Slurm } from '../../support/slurm'
import { temporaryFolder } from '../../support/tiny'

const skip = withoutSlurm()

describe('a Slurm of one machine and two nodes', { skip }, () => {
  let slurm: Slurm
  before(async () => { slurm = await startSlurm(2) })
  after(() => slurm.stop())

  const ranks = (text: string) => text.trim().split('\n').map((line) => JSON.parse(line).rank).sort((a, b) => a?.rank - b?.rank)

  test('srun -n2: two ranks on one node', async (t) => {
    const found = ranks(await slurm.run('srun', '-n2', process.execPath, writeProbe(temporaryFolder(t))))
    for (const [rank, each] of found.entries()) assert.deepEqual([each.rank, each.worldSize, each.localRank, each.localWorldSize, each.masterAddress, each.source], [rank, 2, rank, 2, '127.0.0.1', 'slurm'])
    assert.equal(found[0].masterPort, 15000 + Number(found[0].runId.split('.')[0]))
  })

  test('srun on two nodes: ranks meet on the first one', async (t) => {
    const found = ranks(await slurm.run('srun', '-N2', '--ntasks-per-node=2', process.execPath, writeProbe(temporaryFolder(t))))
    assert.deepEqual(found.map((each) => [each.rank, each.localRank, each.localWorldSize, each.masterAddress]), [[0, 0, 2, 'cn01'], [1, 1, 2, 'cn01'], [2, 0, 2, 'cn01'], [3, 1, 2, 'cn01']])
  })

  test('the shell of salloc is no rank', async (t) => {
    assert.deepEqual(ranks(await slurm.run('salloc', '-Q', '-n2', process.execPath, writeProbe(temporaryFolder(t)))), [null])
  })

  test('host lists are those of scontrol', async () => {
    for (const list of ['a[01-03,7],b5', 'n[8-11],n[098-101]', 'r[1-2]n[1-2]', 'node1'])
      assert.deepEqual(parseHostlist(list), (await slurm.run('scontrol', 'show', 'hostnames', list)).trim().split('\n'))
  })

  test('fettle job slurm: signalled before its end, a run saves, is queued again and goes on from its checkpoint', async (t) => {
    const folder = temporaryFolder(t), args = path.join(folder, 'sft.json'), output = path.join(folder, 'out put'), log = path.join(folder, 'log')
    fs.writeFileSync(args, JSON.stringify({ output_dir: output }))
    // In place of training: it saves when it is asked to end, and is done at once where it goes on.
    const probe = writeProbe(folder, `const fs = require('fs')
fs.appendFileSync(${JSON.stringify(log)}, JSON.stringify({ rank: rank.rank, restart: rank.restartCount ?? 0, words: process.argv.slice(2) }) + '\\n')
if (process.argv.includes('--resume_from_checkpoint')) process.exit(0)
process.on('SIGTERM', () => { fs.mkdirSync(${JSON.stringify(output)} + '/checkpoint-7', { recursive: true }); process.exit(143) })
setTimeout(() => {}, 60_000)`)
    const { code, stdout, stderr } = await fettle(['job', 'slurm', args, '--ranks-per-node', '2', '--program', `'${process.execPath}' '${probe}'`, '--', '--max_steps', '5'])
    assert.equal(code, 0, stderr)
    const script = path.join(folder, 'job.sh')
    fs.writeFileSync(script, stdout)
    const job = (await slurm.run('sbatch', '--parsable', `--output=${folder}/job.out`, script)).trim()
    const lines = () => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line)) : [])
    const state = async () => /JobState=(\w+)/.exec(await slurm.run('scontrol', 'show', 'job', job))![1]
    await until('two ranks', () => lines().length === 2)
    // What Slurm does 120 s before the time limit.
    await slurm.run('scancel', '--batch', '--signal=USR1', job)
    await until('the job in the queue again', async () => (await state()) === 'PENDING')
    await until('a start at once', () => slurm.run('scontrol', 'update', `JobId=${job}`, 'StartTime=now').then(() => true, () => false))
    await until('the end of the job', async () => (await state()) === 'COMPLETED', 60_000)
    assert.deepEqual(lines().sort((a, b) => a.restart - b.restart || a.rank - b.rank), [0, 1].flatMap((restart) => [0, 1].map((rank) => ({
      rank, restart, words: ['run', args, '--max_steps', '5', ...(restart === 1 ? ['--resume_from_checkpoint', 'true'] : [])] }))))
  })

  test('fettle job slurm: a failure is not queued again', async (t) => {
    const folder = temporaryFolder(t), args = path.join(folder, 'sft.json')
    fs.writeFileSync(args, JSON.stringify({ output_dir: 'out' }))
    const { stdout } = await fettle(['job', 'slurm', args, '--ranks-per-node', '2', '--program', `'${process.execPath}' -e 'process.exit(3)'`])
    fs.writeFileSync(path.join(folder, 'job.sh'), stdout)
    const job = (await slurm.run('sbatch', '--parsable', `--output=${folder}/job.out`, path.join(folder, 'job.sh'))).trim()
    await until('a failed job', async () => /JobState=FAILED[\s\S]*Restarts=0[\s\S]*ExitCode=3:0/.test(await slurm.run('scontrol', 'show', 'job', job)))
  })
})
