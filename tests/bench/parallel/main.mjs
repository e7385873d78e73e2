// npm run bench -- --parallel [--write]: rank processes on this machine against the formulas, and the model of
// sdk/parallel/estimate/simulate.ts against both. Runs in a network namespace of its own, where loopback carries nothing else.
import { createRequire } from 'node:module'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { busy, machine, otherLoad } from '../machine.mjs'
import { inTurns, once, rounds } from './cases.mjs'
import { measureLink, runCase } from './launch.mjs'
import { writeModel } from './model.mjs'
import { besides, busy as tooBusy, report } from './report.mjs'

const require = createRequire(import.meta.url)
const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', '..'), home = process.env.FETTLE_HOME ?? join(root, '.fettle')
const raise = 'ip link set lo up', own = 'FETTLE_BENCH_NAMESPACE'

/** Starts the same command in a network namespace; `null`: this machine permits none. */
function inNamespace() {
  const within = (script, ...args) => spawnSync('unshare', ['--map-root-user', '--net', 'sh', '-c', script, 'sh', ...args], { stdio: args.length > 0 ? 'inherit' : 'ignore', env: { ...process.env, [own]: '1' } }).status
  return within(raise) === 0 ? within(`${raise} && exec "$@"`, process.execPath, ...process.argv.slice(1)) ?? 1 : null
}

/** All cases, one after the other, with what they say of themselves on the way. */
async function runAll(model) {
  const results = []
  const run = async (c) => {
    const ranks = await runCase(model, c)
    results.push({ ...c, results: ranks })
    process.stderr.write(`${c.kind}, ${c.name}${c.micros ? `, ${c.micros} micro-batches` : ''}: ${ranks[0].seconds.map((s) => s.toFixed(2)).join(' ')} s a step\n`)
  }
  for (let round = 0; round < rounds; round++) for (const c of inTurns) await run(c)
  for (const c of once) await run(c)
  return results
}

/** Share of all cores that processes other than the bench's took while it ran. */
function othersSince(before, began, results) {
  const now = busy(), ours = results.flatMap((c) => c.results).reduce((sum, { cpu }) => sum + cpu, 0) + process.cpuUsage().user / 1e6
  const cores = (now.all - before.all) / 100 / ((performance.now() - began) / 1000)
  return Math.max(0, 1 - (now.idle - before.idle) / (now.all - before.all) - ours / ((performance.now() - began) / 1000) / cores)
}

export async function main(write) {
  if (!process.env[own]) {
    const status = inNamespace()
    if (status !== null) return void (process.exitCode = status)
    console.error('No network namespace of its own (unshare --net is not permitted here): bytes count whatever else loopback carries.')
  }
  const load = await otherLoad(), before = busy(), began = performance.now()
  const model = writeModel(join(home, 'bench', 'parallel-model')), link = await measureLink(), results = await runAll(model)
  const others = othersSince(before, began, results), seconds = (performance.now() - began) / 1000
  const { kernels } = require('fettle/dist/models/blocks/fused')
  const result = { date: new Date().toISOString(), machine: machine(), kernels: kernels(), load, others, seconds, link, namespace: process.env[own] === '1', results }
  mkdirSync(join(home, 'bench'), { recursive: true })
  writeFileSync(join(home, 'bench', 'parallel.json'), JSON.stringify(result, null, 2))
  console.log(report(result, true))
  const quiet = besides(result) <= tooBusy
  if (!quiet) console.error('\nOther processes were busy: times are not to be published, and --write leaves them out.')
  if (!write) return
  const page = join(root, 'docs', 'parallel.md'), mark = /(<!-- bench -->\n)[\s\S]*?(<!-- \/bench -->)/
  writeFileSync(page, readFileSync(page, 'utf8').replace(mark, (_, open, close) => `${open}${report(result, quiet)}\n${close}`))
}
