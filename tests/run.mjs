// Runs the compiled tests by tier and ends with the line `N passed, N failed`.
//   node tests/run.mjs [--tier fast|golden|full|gpu]… [--only TEXT]
// fast: seconds each, on every save. golden: parity with reference values. full: real model, notebook, browser. gpu: skipped by name without one.
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { readdirSync, existsSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
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

async function runTier(tier, files) {
  const started = Date.now()
  console.log(`\n== ${tier}: ${files.length} files`)
  // One file at a time where tests train or drive a browser: two busy processes on two cores ruin each other.
  const stream = run({ files, concurrency: tier === 'fast' ? 2 : 1, timeout: 30 * 60_000 })
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
  const report = stream.compose(new spec())
  report.pipe(process.stdout)
  await new Promise((resolve, reject) => report.on('end', resolve).on('error', reject))
  console.log(`== ${tier} took ${((Date.now() - started) / 1000).toFixed(1)} s`)
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
