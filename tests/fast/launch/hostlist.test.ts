import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseCounts, parseHostlist } from 'fettle/dist/parallel/launch/hostlist'
import { portOf, slurmPort } from 'fettle/dist/parallel/launch/master'

// As `scontrol show hostnames` has them; Slurm 22.05 itself knows no text behind the last bracket.
test('host lists, ranges and all', () => {
  const cases: [string, string][] = [
    ['a[01-03,7],b5', 'a01 a02 a03 a7 b5'], ['node1', 'node1'], ['n[8-11]', 'n8 n9 n10 n11'], ['n[08-11]', 'n08 n09 n10 n11'], ['n[098-101]', 'n098 n099 n100 n101'],
    ['r[1-2]n[1-2]', 'r1n1 r1n2 r2n1 r2n2'], ['gpu[1,3]-ib', 'gpu1-ib gpu3-ib'], ['a1,b[2-3].site.org,c', 'a1 b2.site.org b3.site.org c'], ['[1-2]', '1 2'], ['n[0]', 'n0'],
  ]
  for (const [list, hosts] of cases) assert.deepEqual(parseHostlist(list), hosts.split(' '), list)
})

test('what is no host list is refused by the name of its variable', () => {
  for (const list of ['', 'a[1', 'a1]', 'a[]', 'a[3-1]', 'a[x]', 'a[1-]', 'a[[1]]', 'a b', 'a[1-99999999]'])
    assert.throws(() => parseHostlist(list, 'SLURM_STEP_NODELIST'), { code: 'launch.environment', message: /SLURM_STEP_NODELIST.*; set MASTER_ADDR/ }, list)
})

test('counts by node', () => {
  assert.deepEqual(parseCounts('2(x3),1'), [2, 2, 2, 1])
  assert.deepEqual(parseCounts('16'), [16])
  for (const text of ['', '2(x', 'x3', '2(y3)']) assert.throws(() => parseCounts(text), { code: 'launch.environment' })
})

test('ports come from the job, and differ from step to step', () => {
  assert.equal(slurmPort('12345678'), 20678)
  assert.equal(slurmPort('42'), 15042)
  assert.equal(slurmPort('1234567.pbs'), 19567)
  const steps = Array.from({ length: 100 }, (_, step) => slurmPort('42', step))
  assert.equal(new Set(steps).size, 100)
  for (const port of [...steps, portOf('2019098625'), portOf('')]) assert.ok(port >= 15000 && port < 25000)
})
