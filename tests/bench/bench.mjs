// npm run bench: Fettle and its Python peers in turn (A B A B), whole processes on the same weights, adapter, rows and
// threads. Tokens are counted without padding.
//   --case heavy,short   laws of row lengths         --dtype bf16,fp32   types to run; default: see casesOf
//   --rounds 2           times each side runs        --steps 12          steps a run, at most
//   --seconds 90         time a run may take beyond its third step       --threads N   default: all cores
//   --sides fettle,best,plain                        --write             put the tables into docs/performance.md
//   --parallel           instead: ranks on this machine against the formulas of docs/parallel.md, 4 minutes (parallel/main.mjs)
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { machine, multipliesBf16, otherLoad } from './machine.mjs'
import { peerPython } from './peer.mjs'
import { prepare } from './prepare.mjs'
import { spread, summarize, table } from './report.mjs'
import { runSide } from './sides.mjs'

const here = dirname(fileURLToPath(import.meta.url)), root = resolve(here, '..', '..'), home = process.env.FETTLE_HOME ?? join(root, '.fettle')
const { values } = parseArgs({
  options: {
    case: { type: 'string', default: 'heavy' }, dtype: { type: 'string' }, rounds: { type: 'string', default: '2' }, steps: { type: 'string', default: '12' },
    seconds: { type: 'string', default: '90' }, threads: { type: 'string' }, sides: { type: 'string', default: 'fettle,best,plain' }, write: { type: 'boolean', default: false },
    parallel: { type: 'boolean', default: false },
  },
})

/**
 * The types to run. Where the CPU does not multiply bf16, ATen emulates it, at a few tokens a second: there bf16 runs for
 * the fewest steps, and fp32, which a user of the peers would choose on such a CPU, is the comparison that means something.
 */
function casesOf(cpu) {
  const emulated = !multipliesBf16(cpu)
  const dtypes = values.dtype?.split(',') ?? (emulated ? ['fp32', 'bf16'] : ['bf16'])
  return values.case.split(',').flatMap((law) => dtypes.map((dtype) => {
    const slow = emulated && dtype === 'bf16'
    // Its first batch is the largest: minutes a step there.
    return { law, dtype, skip: slow ? 1 : 0, steps: slow ? 2 : Number(values.steps), rounds: slow ? 1 : Number(values.rounds), adapterDtype: emulated ? 'fp32' : 'model' }
  }))
}

async function runCase(c, files, python, threads) {
  const rounds = []
  for (let round = 0; round < c.rounds; round++) {
    const runs = []
    for (const side of values.sides.split(',')) {
      process.stderr.write(`${c.law}, ${c.dtype}, round ${round + 1} of ${c.rounds}: ${side}\n`)
      runs.push(await runSide(side, python, files, { ...c, threads, seconds: Number(values.seconds) }))
    }
    rounds.push(runs)
  }
  return { ...c, ...summarize(rounds) }
}

/** Small operator: TypeScript and Python in turn, nanoseconds. */
function dispatch(python) {
  const time = (command, script) => Number(spawnSync(command, [join(here, script)], { encoding: 'utf8' }).stdout)
  const pairs = Array.from({ length: 3 }, () => [time(process.execPath, 'dispatch.mjs'), time(python, 'dispatch.py')])
  return { typescript: spread(pairs.map(([t]) => t)), python: spread(pairs.map(([, p]) => p)), ratio: spread(pairs.map(([t, p]) => t / p)) }
}

function kernelsInUse() {
  const code = "console.log(require('fettle/dist/models/blocks/fused').kernels())"
  return spawnSync(process.execPath, ['-e', code], { encoding: 'utf8', cwd: root }).stdout.trim()
}

const law = { heavy: 'heavy-tailed rows (mean about 80 tokens, longest 1,000)', short: 'short rows (mean 18 tokens)' }

function markdown({ cpu, kernels, load, threads, cases, small }) {
  const ns = (s) => `${Math.round(s.median)} ns`
  return [
    `Machine: ${cpu.cpu}, ${cpu.cores} cores, ${cpu.memoryGiB} GiB, ${cpu.features.join(' ')}; ${threads} threads; kernels ${kernels}.`,
    ...(load.share > 0.1 ? [`**Other work took ${Math.round(load.share * 100)}% of the cores when this began: read ratios only, and with care.**`] : []), '',
    ...cases.flatMap((c) => [table(`LoRA r = 8, SmolLM2-135M, ${c.dtype}, 8 ${law[c.law]} a step`, c), '']),
    `Dispatch of a small operator (add of 2×2): ${ns(small.typescript)} from TypeScript, ${ns(small.python)} from Python; ratio ${small.ratio.median.toFixed(2)} (${small.ratio.min.toFixed(2)}–${small.ratio.max.toFixed(2)}).`,
  ].join('\n')
}

async function compare() {
  const cpu = machine(), load = await otherLoad(), threads = Number(values.threads ?? cpu.cores)
  if (load.share > 0.1) console.error(`Other work takes ${Math.round(load.share * 100)}% of the cores: the figures will not be worth keeping.`)
  const python = peerPython(join(home, 'peer')), files = await prepare(join(home, 'bench'))
  const cases = []
  for (const c of casesOf(cpu)) cases.push(await runCase(c, files, python, threads))
  const result = { date: new Date().toISOString(), cpu, load, threads, kernels: kernelsInUse(), cases, small: dispatch(python) }
  mkdirSync(join(home, 'bench'), { recursive: true })
  writeFileSync(join(home, 'bench', 'result.json'), JSON.stringify(result, null, 2))
  const text = markdown(result)
  console.log(`\n${text}`)
  if (values.write) {
    const page = join(root, 'docs', 'performance.md'), mark = /(<!-- bench -->\n)[\s\S]*?(<!-- \/bench -->)/
    writeFileSync(page, readFileSync(page, 'utf8').replace(mark, (_, open, close) => `${open}${text}\n${close}`))
  }
}

if (values.parallel) await (await import('./parallel/main.mjs')).main(values.write)
else await compare()
