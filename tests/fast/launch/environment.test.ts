import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { FettleError } from 'fettle'
import { nodeFromEnvironment, rankFromEnvironment, rankVariables } from 'fettle/dist/parallel/launch/environment'
import { repoRoot } from '../../support/paths'

interface Case { name: string; origin: string; env: Record<string, string>; expect: null | Record<string, unknown> & { error?: string; variables?: string[] } }
const cases = JSON.parse(readFileSync(path.join(repoRoot, 'tests', 'fixtures', 'launch', 'environments.json'), 'utf8')) as Case[]

for (const { name, origin, env, expect } of cases) {
  test(`${name} (${origin})`, () => {
    if (expect?.error === undefined) return assert.deepEqual(rankFromEnvironment(env), expect)
    assert.throws(() => rankFromEnvironment(env), (error) => {
      assert.ok(error instanceof FettleError)
      assert.equal(error.code, expect.error)
      for (const variable of expect.variables!) assert.ok((error.details.variables as string[]).includes(variable), `${variable} in ${error.message}`)
      // What is wrong, then the way out.
      assert.match(error.message, /.; ./)
      return true
    })
  })
}

test('a rank as variables is the same rank again', () => {
  for (const { env, expect } of cases) {
    if (expect === null || expect.error !== undefined) continue
    const found = rankFromEnvironment(env)!
    const { storeServed, ...rest } = found
    // A launcher's agent serves its ranks alone; and old PyTorchJobs say localhost on the first of several pods.
    if (storeServed || (found.masterAddress === 'localhost' && found.localWorldSize < found.worldSize)) continue
    assert.deepEqual(rankFromEnvironment(rankVariables(found)), { ...rest, source: 'fettle' })
  }
})

test('a node: which of several machines, and how many ranks it should have', () => {
  const job = { JOB_COMPLETION_INDEX: '1', FETTLE_NODES: '2', FETTLE_RANKS_PER_NODE: '4', FETTLE_MASTER_ADDR: 'tune-0.tune' }
  assert.deepEqual(nodeFromEnvironment(job), { node: 1, nodes: 2, ranksPerNode: 4, masterAddress: 'tune-0.tune', masterPort: 29500, source: 'fettle' })
  assert.deepEqual(nodeFromEnvironment({ ...job, FETTLE_NODE_RANK: '0' })?.node, 0)
  const pod = { PET_NNODES: '2', PET_NPROC_PER_NODE: 'auto', PET_NODE_RANK: '1', PET_MASTER_ADDR: 'tune-node-0-0.tune', PET_MASTER_PORT: '29501' }
  assert.deepEqual(nodeFromEnvironment(pod), { node: 1, nodes: 2, ranksPerNode: null, masterAddress: 'tune-node-0-0.tune', masterPort: 29501, source: 'pet' })
  assert.equal(nodeFromEnvironment({}), null)
  assert.equal(nodeFromEnvironment({ ...pod, RANK: '0', LOCAL_RANK: '0' }), null)
})
