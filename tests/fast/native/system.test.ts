import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { cpuCapability, devices, formatReport, getRngState, getThreads, inspect, manualSeed, memory, ops, pageFaults, setRngState, setThreads } from 'fettle-native'

test('the same seed gives the numbers of PyTorch', () => {
  manualSeed(0)
  // torch.manual_seed(0); torch.randn(3), torch 2.15.0
  const expected = [1.5409961, -0.2934289, -2.1787894]
  ops.randn([3]).toArray().forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-6, String(value)))
})

test('the random state can be read and restored', () => {
  manualSeed(7)
  ops.rand([3])
  const state = getRngState()
  const first = ops.rand([5]).toArray()
  setRngState(state)
  assert.deepEqual(ops.rand([5]).toArray(), first)
  assert.throws(() => setRngState(state.slice(0, 10)), { name: 'NativeError' })
})

test('threads, capability, devices and memory answer', () => {
  setThreads(1)
  assert.equal(getThreads(), 1)
  assert.throws(() => setThreads(0), { code: 'native.argument' })
  assert.ok(cpuCapability().length > 0)
  assert.equal(devices()[0].device, 'cpu')
  assert.ok(devices()[0].totalMemory > 0)
  const { resident, peakResident, heapUsed } = memory()
  assert.ok(resident > 0 && peakResident >= resident / 2 && heapUsed > 0)
  assert.ok(pageFaults().minor > 0)
})

test('a tuned allocator reuses large blocks without new page faults', () => {
  const code = `
    const { ops, scope, tuneAllocator, pageFaults } = require('fettle-native')
    const step = () => scope(() => { ops.exp(ops.ones([4 << 20])) })
    tuneAllocator(); step(); step()
    const before = pageFaults().minor
    for (let i = 0; i < 5; i++) step()
    console.log(pageFaults().minor - before)`
  const result = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8', env: { ...process.env, OMP_NUM_THREADS: '1' } })
  // Five steps of two 16 MiB blocks would fault 40,000 pages otherwise.
  assert.ok(Number(result.stdout) < 1000, result.stdout + result.stderr)
})

test('memory that cannot be had is a typed error under the tuned allocator too', () => {
  const code = `const f = require('fettle-native'); f.tuneAllocator(); try { f.ops.empty([1e14]) } catch (e) { console.log(e.code, e.operator) }`
  assert.match(spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' }).stdout, /native\.memory aten::empty/)
})

test('the doctor reports this machine', () => {
  const report = inspect()
  assert.ok(report.libtorch && report.addon)
  assert.ok(report.cpu.capability)
  assert.deepEqual(report.problems.filter((p) => p.fatal), [])
  assert.match(formatReport(report), /libtorch +2\.1\d/)
  assert.match(formatReport(report), /^CUDA +(none run: .+|norm, rotary, activation, head, compiled for sm_\d+.*); (no NVRTC|NVRTC \d+\.\d+), graphs\.node (not )?built, nccl\.node (not )?built$/m)
})

test('the doctor works without libtorch and says what to do', () => {
  const code = `const { inspect, formatReport } = require('fettle-native'); const r = inspect(); console.log(JSON.stringify(r.problems)); console.log(formatReport(r))`
  const result = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8', env: { ...process.env, FETTLE_LIBTORCH: '/nowhere' } })
  assert.match(result.stdout, /correct or unset FETTLE_LIBTORCH/)
  assert.match(result.stdout, /libtorch +not found/)
})

test('first use without libtorch is a typed error with the remedy', () => {
  const code = `try { require('fettle-native').tensor([1]) } catch (e) { console.log(e.name, e.code, e.message) }`
  const result = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8', env: { ...process.env, FETTLE_LIBTORCH: '/nowhere' } })
  assert.match(result.stdout, /NativeError native\.missing .*\/nowhere.*npm run setup/)
})
