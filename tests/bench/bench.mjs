// npm run bench: Fettle and its Python peers in turn (A B A B), whole processes on the same weights, adapter, rows and threads.
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { casesOf, parse } from './cases.mjs'
import { compareCurves } from './curves.mjs'
import { machine, otherLoad } from './machine.mjs'
import { writePage } from './page.mjs'
import { tcmalloc } from './peers/allocator.mjs'
import { packages, peerPython, shared } from './peers/environment.mjs'
import { prepare } from './prepare/index.mjs'
import { addResult, kernelsInUse, readResult, readResults, slugOf } from './results.mjs'
import { runSide } from './sides.mjs'
import { spread, summarize } from './statistics.mjs'
import { caseTable, markdown } from './table.mjs'

const here = dirname(fileURLToPath(import.meta.url)), root = resolve(here, '..', '..'), home = process.env.FETTLE_HOME ?? join(root, '.fettle'), kept = join(root, 'docs', 'bench')

const help = `npm run bench -- [flags]      lists are separated by commas
  --peer peft,trl,torchtune     peers to compare with (peft)
  --case lora,full,prefix,generate   (lora)
  --rows short,heavy,1024,4096  rows of training (heavy)
  --dtype bf16,fp32             default: bf16, and fp32 where the CPU only emulates bf16
  --model smollm2,qwen2,opt     SmolLM2-135M, or shapes of other families with random weights (smollm2)
  --forms default,best,compile  of each peer (default,best)
  --sides fettle,fettle-run,fettle-plain,peer   (all but fettle-plain)
  --rounds 2  --steps 12  --seconds 90  --threads N   rounds of turns; steps a run at most, and its time beyond the third step; default: all cores
  --batches 1,8  --prompt 64  --new 64   generation: prompts beside each other, their tokens, new tokens
  --quick                       LoRA and generation on short and heavy rows: at most 15 minutes
  --full                        everything: hours; what is done stays in .fettle/bench/results when it is stopped
  --resume                      only cases that have no result there yet
  --write                       puts this machine's results into docs/bench and docs/performance.md
  --page                        only makes docs/bench/index.html and its pictures anew from the results there
  --curves [--steps 200]        instead: the loss of LoRA on short rows in both forms of the blocks, step by step, about 10 minutes
  --parallel                    instead: ranks on this machine against the formulas of docs/parallel.md, 4 minutes`

/**
 * Rounds in which each side has its turn. A side that fails is left out from then on, and the case says so. Where bf16 is emulated
 * a first step of more than five minutes is no failure, but what the CPU is like; nor is one that needs more memory than there is.
 */
async function runCase(c, files, tools) {
  const load = await otherLoad(), failed = {}, refused = { ...c.refused }, rounds = []
  for (let round = 0; round < c.rounds; round++) {
    const runs = []
    for (const side of c.sides.filter((name) => !(name in failed || name in refused))) {
      process.stderr.write(`${c.key}, round ${round + 1} of ${c.rounds}: ${side}\n`)
      try { runs.push(await runSide(side, c, files, tools)) } catch (error) {
        if (c.emulated && error.code === 'bench.patience') refused[side] = `no step of emulated bf16 within ${c.patience} s`
        else if (error.code === 'bench.memory') refused[side] = `killed by the system, as it took more memory than this machine has (${machine().memoryGiB} GiB)`
        else failed[side] = error.message
        process.stderr.write(`  ${error.message}\n`)
      }
    }
    rounds.push(runs)
  }
  return { ...c, date: new Date().toISOString(), load: load.share, failed, refused, ...summarize(rounds, c.dtype) }
}

/** Small operator: TypeScript and Python in turn, nanoseconds. */
function dispatch(python) {
  const time = (command, script) => Number(spawnSync(command, [join(here, script)], { encoding: 'utf8' }).stdout)
  const pairs = Array.from({ length: 3 }, () => [time(process.execPath, 'dispatch.mjs'), time(python, 'dispatch.py')])
  return { typescript: spread(pairs.map(([t]) => t)), python: spread(pairs.map(([, p]) => p)), ratio: spread(pairs.map(([t, p]) => t / p)) }
}

function about(cpu, cases, tools) {
  const used = Object.keys(tools.pythons), python = tools.pythons[used[0]]
  return {
    machine: cpu, threads: cases[0].threads, kernels: kernelsInUse(), node: process.version, versions: Object.fromEntries(used.map((peer) => [peer, [...shared, ...packages[peer]]])),
    ...(python ? { tcmalloc: tools.tcmalloc !== undefined, dispatch: dispatch(python) } : {}),
  }
}

function toolsOf(cases) {
  const peers = [...new Set(cases.flatMap((c) => c.sides).filter((side) => side.includes(':')).map((side) => side.split(':')[0]))], folder = join(home, 'peers')
  return { pythons: Object.fromEntries(peers.map((peer) => [peer, peerPython(folder, peer)])), tcmalloc: peers.length > 0 ? tcmalloc(join(folder, 'tcmalloc')) : undefined }
}

/** Puts text into docs/performance.md between its marks. */
function put(name, text) {
  const file = join(root, 'docs', 'performance.md'), mark = new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(<!-- /${name} -->)`)
  writeFileSync(file, readFileSync(file, 'utf8').replace(mark, (_, open, close) => `${open}${text}\n${close}`))
}

/** The tables of all machines, and their charts in docs/bench. */
function publish() {
  const results = readResults(kept)
  writePage(kept, results)
  put('bench', [...results.values()].map(markdown).join('\n\n'))
}

/** What went wrong in a case, in words; a comparison of things that differ is none. */
function faultsOf(c) {
  const differing = Object.entries(c.agreement).filter(([, { agrees }]) => !agrees).map(([side, a]) => `${c.key}: ${side} computes something else than Fettle (${a.kind === 'loss' ? `first loss ${a.peer} against ${a.fettle}` : 'first tokens differ'})`)
  return [...Object.entries(c.failed).map(([side, why]) => `${c.key}: ${side} failed: ${why}`), ...differing]
}

async function compare(settings) {
  const cpu = machine(), cases = settings.runs.flatMap((run) => casesOf(run, cpu)), own = join(home, 'bench', 'results', `${slugOf(cpu)}.json`), wrong = []
  const done = settings.resume ? Object.keys(readResult(own)?.cases ?? {}) : [], runnable = cases.filter((c) => c.sides.length > 0 && !done.includes(c.key))
  for (const c of cases) for (const [side, why] of Object.entries(c.refused)) console.error(`${c.key}: without ${side}: ${why}`)
  if (runnable.length === 0) {
    console.error(done.length > 0 ? `All of these cases have a result: ${own}` : 'No side can run any of these cases.')
    return done.length > 0 ? 0 : 1
  }
  const tools = toolsOf(runnable), said = about(cpu, runnable, tools)
  if (Object.keys(tools.pythons).length > 0 && tools.tcmalloc === undefined) console.error("No tcmalloc on this machine and none to be had: the peers' best forms run on the system's allocator.")
  for (const c of runnable) {
    const files = await prepare(join(home, 'bench'), c.model, c.rows ?? 'heavy'), result = await runCase(c, files, tools)
    wrong.push(...faultsOf(result))
    addResult(own, said, { [c.key]: result })
    if (settings.write) addResult(join(kept, `${slugOf(cpu)}.json`), said, { [c.key]: result })
    console.log(`\n${caseTable(result)}\n`)
  }
  if (settings.write) publish()
  console.error(`Results: ${own}`)
  for (const text of wrong) console.error(`error: ${text}`)
  return wrong.length > 0 ? 1 : 0
}

async function main() {
  const settings = parse(process.argv.slice(2))
  if (settings.help) return void console.log(help)
  if (settings.parallel) return (await import('./parallel/main.mjs')).main(settings.write)
  if (settings.curves) return compareCurves(settings, { home, kept, publish: (text) => put('curves', text) })
  if (settings.page) return writePage(kept, readResults(kept))
  process.exitCode = await compare(settings)
}

try { await main() } catch (error) {
  if (error.code === undefined) throw error
  console.error(`error: ${error.name} ${error.code}: ${error.message}`)
  process.exitCode = 1
}
