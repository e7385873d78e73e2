import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { cpulist, parseCpulist } from 'fettle/dist/parallel/launch/cpulist'
import { readCores, readMachine, readQuota, type Machine, type ReadText } from 'fettle/dist/parallel/launch/machine'
import { boundByLauncher, placeRank } from 'fettle/dist/parallel/launch/place'

/** What the kernel's files say of a machine. `siblings` tells the CPUs of a physical core by one of them. */
function files(shape: { allowed: string; nodes?: string[]; siblings?: (cpu: number) => string; more?: Record<string, string> }): ReadText {
  const { allowed, nodes = ['0-1023'], siblings = String, more = {} } = shape
  return (file) => {
    if (file in more) return more[file]
    if (file === '/proc/self/status') return `Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${allowed}\n`
    if (file === '/sys/devices/system/node/online') return nodes.length === 1 ? '0\n' : `0-${nodes.length - 1}\n`
    const node = /node(\d+)\/cpulist$/.exec(file), cpu = /cpu(\d+)\/topology\/core_cpus_list$/.exec(file)
    return node ? `${nodes[Number(node[1])]}\n` : cpu ? `${siblings(Number(cpu[1]))}\n` : null
  }
}
const machine = (read: ReadText, more: Partial<Machine> = {}): Machine => ({ cores: readCores(read)!, quota: readQuota(read), gpus: 0, binder: 'taskset', ...more })
const placed = (of: Machine, ranks: number, device?: 'cpu' | 'cuda') => Array.from({ length: ranks }, (_, rank) => placeRank(of, rank, ranks, device))
const lists = (of: Machine, ranks: number) => placed(of, ranks).map(({ cpus, threads }) => `${cpus === null ? 'any' : cpulist(cpus)}: ${threads}`)

const one = files({ allowed: '0' }), two = files({ allowed: '0-1' })
const sockets = files({ allowed: '0-63', nodes: ['0-31', '32-63'] })
// Two sockets of 32 cores with SMT, siblings 64 apart, as most servers number them; and a laptop, siblings side by side.
const smt = files({ allowed: '0-127', nodes: ['0-31,64-95', '32-63,96-127'], siblings: (cpu) => `${cpu % 64},${cpu % 64 + 64}` })
const laptop = files({ allowed: '0-7', siblings: (cpu) => `${cpu - cpu % 2}-${cpu - cpu % 2 + 1}` })

test('cores are divided evenly, those of a NUMA node together, hyperthreads with their core', () => {
  assert.deepEqual(lists(machine(one), 1), ['any: 1'])
  assert.deepEqual(lists(machine(two), 2), ['0: 1', '1: 1'])
  assert.deepEqual(lists(machine(sockets), 1), ['any: 64'])
  assert.deepEqual(lists(machine(sockets), 2), ['0-31: 32', '32-63: 32'])
  assert.deepEqual(lists(machine(sockets), 4), ['0-15: 16', '16-31: 16', '32-47: 16', '48-63: 16'])
  assert.deepEqual(lists(machine(smt), 2), ['0-31,64-95: 32', '32-63,96-127: 32'])
  assert.deepEqual(lists(machine(laptop), 3), ['0-1: 1', '2-3: 1', '4-7: 1'])
})

test('a rank that may run on its own share alone still sees what all of them share', () => {
  assert.deepEqual(lists({ ...machine(one), cores: readCores(one, '0-1')! }, 2), ['0: 1', '1: 1'])
})

test('more ranks than cores share them, and their threads do not spin while they wait', () => {
  for (const { cpus, prefix, environment } of placed(machine(two), 4)) {
    assert.deepEqual([cpus, prefix, environment], [null, [], { OMP_NUM_THREADS: '1', OMP_WAIT_POLICY: 'passive' }])
  }
  assert.equal(placed(machine(two), 2)[0].environment.OMP_WAIT_POLICY, undefined)
})

test('a container with a set of CPUs has those; one with a quota of time is bound to none', () => {
  assert.deepEqual(lists(machine(files({ allowed: '8-11,40-43', nodes: ['0-31', '32-63'] })), 2), ['8-11: 4', '40-43: 4'])
  const quota = files({ allowed: '0-63', more: { '/proc/self/cgroup': '0::/pod/box\n', '/sys/fs/cgroup/cpu.max': 'max 100000\n', '/sys/fs/cgroup/pod/cpu.max': '800000 100000\n', '/sys/fs/cgroup/pod/box/cpu.max': 'max 100000\n' } })
  assert.equal(machine(quota).quota, 8)
  assert.deepEqual(lists(machine(quota), 2), ['any: 4', 'any: 4'])
  const tight = placed(machine(quota, { quota: 1.5 }), 2)[0]
  assert.deepEqual([tight.threads, tight.environment.OMP_WAIT_POLICY], [1, 'passive'])
})

test('quotas of cgroup v1, and none', () => {
  const v1 = files({ allowed: '0-3', more: { '/proc/self/cgroup': '4:cpu,cpuacct:/docker/ab\n', '/sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us': '150000\n', '/sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us': '100000\n', '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n' } })
  assert.equal(readQuota(v1), 1.5)
  assert.equal(readQuota(two), null)
  // In a container the own group is the root of what can be seen.
  assert.equal(readQuota(files({ allowed: '0', more: { '/sys/fs/cgroup/cpu.max': '250000 100000\n' } })), 2.5)
})

test('cores that a launcher bound are not divided again', () => {
  const bound = { cores: true, gpus: false }
  const { threads, cpus, prefix } = placeRank(machine(files({ allowed: '16-31' })), 3, 4, 'auto', bound)
  assert.deepEqual([threads, cpus, prefix], [16, null, []])
  assert.deepEqual(boundByLauncher({ OMPI_MCA_orte_bound_at_launch: '1' }), bound)
  assert.deepEqual(boundByLauncher({ SLURM_CPU_BIND_TYPE: 'mask_cpu:', SLURM_GPUS_PER_TASK: '1' }), { cores: true, gpus: true })
  assert.deepEqual(boundByLauncher({ SLURM_CPU_BIND_TYPE: 'none' }), { cores: false, gpus: false })
})

test('a rank is bound by the program that is there, else by OpenMP', () => {
  const rank = (binder: Machine['binder']) => placeRank(machine(two, { binder }), 1, 2)
  assert.deepEqual(rank('taskset').prefix, ['taskset', '-c', '1'])
  assert.deepEqual(rank('numactl').prefix, ['numactl', '--physcpubind=1'])
  assert.deepEqual([rank(null).prefix, rank(null).environment], [[], { OMP_NUM_THREADS: '1', OMP_PLACES: '{1}', OMP_PROC_BIND: 'close' }])
})

test('one GPU a rank, or a refusal that says how many there are', () => {
  const gpus = machine(sockets, { gpus: 4 })
  assert.deepEqual(placed(gpus, 4).map(({ device }) => device), ['cuda:0', 'cuda:1', 'cuda:2', 'cuda:3'])
  assert.deepEqual(placed(gpus, 2, 'cpu').map(({ device }) => device), ['cpu', 'cpu'])
  assert.equal(placeRank(machine(two, { gpus: 1 }), 3, 4, 'auto', { cores: false, gpus: true }).device, 'cuda:0')
  assert.throws(() => placeRank(machine(two, { gpus: 1 }), 1, 2), { code: 'launch.place', message: /each of the 2 ranks.*got 1; start 1 rank here/ })
  assert.throws(() => placeRank(machine(two), 0, 1, 'cuda'), { code: 'launch.place' })
})

test('lists of CPUs', () => {
  for (const text of ['0', '0-3', '0-3,8', '0-31,64-95']) assert.equal(cpulist(parseCpulist(text)), text)
  assert.deepEqual(parseCpulist(''), [])
})

test('this machine: as many cores as the scheduler allows, and a prefix that works', () => {
  const here = readMachine()
  const cpus = here.cores.flatMap((core) => core.cpus)
  assert.ok(cpus.length > 0)
  if (here.binder === null) return
  const { prefix } = placeRank({ ...here, quota: null, gpus: 0 }, 0, Math.min(2, here.cores.length))
  const [program, ...args] = [...prefix, process.execPath, '-e', "console.log(/Cpus_allowed_list:\\s*(\\S+)/.exec(require('fs').readFileSync('/proc/self/status','utf8'))[1])"]
  const { stdout } = spawnSync(program, args, { encoding: 'utf8' })
  assert.equal(stdout.trim(), cpulist(prefix.length === 0 ? cpus : here.cores.slice(0, Math.floor(here.cores.length / 2)).flatMap((core) => core.cpus)))
})
