// Runs the compiled tests by tier and ends with the line `N passed, N failed`.
//   node tests/run.mjs [--tier fast|golden|full|gpu]… [--only TEXT]
// fast: seconds each, on every save. golden: parity with reference values. full: real model, notebook, browser. gpu: skipped by name without one.
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { readdirSync, existsSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = dirname(fileURLToPath(import.meta.url))
const { values } = parseArgs({ options: { tier: { type: 'string', multiple: true }, only: { type: 'string' } } })
const tiers = values.tier ?? ['fast', 'golden', 'full', 'gpu']

const filesOf = tier => {
  const folder = join(here, 'dist', tier)
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.js') && existsSync(join(here, tier, name.replace(/\.js$/, '.ts'))))
    .map(name => join(folder, name)).filter(name => !values.only || name.includes(values.only)).sort()
}

let passed = 0, failed = 0, skipped = 0
const failures = []

/**
 * Whether two files of a folder may run beside each other. Elsewhere tests start several ranks, measure, train for long or drive a
 * browser: two busy processes on two cores ruin each other.
 */
const paired = { fast: () => true, golden: (folder) => folder !== 'parallel', full: (folder) => ['chat', 'cli', 'run', 'train'].includes(folder), gpu: () => false }

async function runTier(tier, files) {
  const started = Date.now(), isPaired = (file) => paired[tier](basename(dirname(file)))
  console.log(`\n== ${tier}: ${files.length} files`)
  await runFiles(tier, files.filter(isPaired), 2)
  await runFiles(tier, files.filter((file) => !isPaired(file)), 1)
  console.log(`== ${tier} took ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

/** Runs files, so many at once. Those that share the cores compute with one thread each, unless the environment says otherwise. */
async function runFiles(tier, files, concurrency) {
  if (files.length === 0) return
  const { OMP_NUM_THREADS: threads } = process.env
  if (concurrency > 1) process.env.OMP_NUM_THREADS = threads ?? '1'
  try { await report(tier, files, run({ files, concurrency, timeout: 30 * 60_000 })) } finally {
    if (threads === undefined) delete process.env.OMP_NUM_THREADS
  }
}

/** Prints what happens and counts it. */
async function report(tier, files, stream) {
  const isLeaf = event => event.details?.type !== 'suite' && !files.includes(event.name)
  stream.on('test:pass', event => {
    if (!isLeaf(event)) return
    if (event.skip !== undefined || event.todo !== undefined) skipped++
    else passed++
  })
  stream.on('test:fail', event => {
    if (event.todo !== undefined) return
    const cause = event.details?.error
    if (!isLeaf(event) && cause?.failureType === 'subtestsFailed') return
    if (event.details?.type === 'suite' && cause?.failureType === 'subtestsFailed') return
    failed++
    failures.push(`${tier} · ${relative(here, event.file ?? '')} · ${event.name}`)
  })
  const text = stream.compose(new spec())
  text.pipe(process.stdout)
  await new Promise((resolve, reject) => text.on('end', resolve).on('error', reject))
}

for (const tier of tiers) {
  const files = filesOf(tier)
  if (files.length === 0) {
    if (values.only) continue
    failed++
    failures.push(`${tier} · no test files were built`)
    continue
  }
  await runTier(tier, files)
}
if (failures.length) console.log(`\nFailed:\n  ${failures.join('\n  ')}`)
if (skipped) console.log(`\n${skipped} skipped by name`)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed > 0 || passed === 0 ? 1 : 0)
