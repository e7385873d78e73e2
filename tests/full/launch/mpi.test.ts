import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { userInfo } from 'node:os'
import { test } from 'node:test'
import { plainEnvironment, writeProbe } from '../../support/launch'
import { without } from '../../support/programs'
import { temporaryFolder } from '../../support/tiny'

/** What two ranks print, by rank. */
function ranks(program: string, args: string[]): any[] {
  const text = execFileSync(program, args, { encoding: 'utf8', env: plainEnvironment(), timeout: 60_000 })
  return text.trim().split('\n').map((line) => JSON.parse(line).rank).sort((a, b) => a.rank - b.rank)
}

test('mpirun of Open MPI: two ranks meet on loopback, on one port', { skip: without('mpirun.openmpi') }, (t) => {
  const root = userInfo().uid === 0 ? ['--allow-run-as-root'] : []
  const found = ranks('mpirun.openmpi', [...root, '--oversubscribe', '-n', '2', process.execPath, writeProbe(temporaryFolder(t))])
  for (const [rank, each] of found.entries()) {
    assert.deepEqual({ ...each, masterPort: 0, runId: '' }, { rank, worldSize: 2, localRank: rank, localWorldSize: 2, masterAddress: '127.0.0.1', masterPort: 0, source: 'openmpi', runId: '' })
  }
  assert.equal(found[0].masterPort, found[1].masterPort)
})

test('mpiexec of MPICH: two ranks meet on loopback', { skip: without('mpiexec.hydra') }, (t) => {
  const found = ranks('mpiexec.hydra', ['-n', '2', process.execPath, writeProbe(temporaryFolder(t))])
  assert.deepEqual(found, [0, 1].map((rank) => ({ rank, worldSize: 2, localRank: rank, localWorldSize: 2, masterAddress: '127.0.0.1', masterPort: 29500, source: 'pmi' })))
})
