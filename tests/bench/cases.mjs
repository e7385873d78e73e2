// What the bench runs: flags become settings, settings become cases, each with its sides and with what a side cannot do.
import { parseArgs } from 'node:util'
import { PlanError } from './error.mjs'
import { multipliesBf16 } from './machine.mjs'
import { models } from './prepare/models.mjs'
import { laws } from './prepare/rows.mjs'

/** Peers by name, and what a table calls them. */
export const peers = { peft: 'transformers + PEFT', trl: 'TRL', torchtune: 'torchtune' }
/** Forms of a peer: as a newcomer writes it, the best that it allows, and the best one with torch.compile. */
export const forms = ['default', 'best', 'compile']
/** Cases by name, and what a table calls them. */
export const titles = { lora: 'LoRA r = 8', full: 'full fine-tuning', prefix: 'prefix tuning, 128 places', generate: 'greedy generation' }
/** Seconds that a side has for its first step; where bf16 is emulated some would take hours. */
const patience = 600, patienceEmulated = 300
const dtypes = ['bf16', 'fp32'], sides = ['fettle', 'fettle-run', 'fettle-plain', 'peer']

const defaults = { peer: ['peft'], forms: ['default', 'best'], case: ['lora'], rows: ['heavy'], model: ['smollm2'], batches: [1, 8], prompt: 64, new: 64, sides: ['fettle', 'fettle-run', 'peer'], rounds: 2, steps: 12, seconds: 90 }
/** Both types; where one is emulated, that one on the smallest cases alone. */
const brief = { steps: 8, seconds: 30, both: true }
/** Named sets; each entry is settings that stand in for the defaults. */
const sets = {
  quick: [{ case: ['lora', 'generate'], rows: ['short', 'heavy'], steps: 8, seconds: 20, oneDtype: true }],
  full: [
    { peer: Object.keys(peers), case: Object.keys(titles), rows: Object.keys(laws).sort(byTokens), ...brief },
    { peer: Object.keys(peers), case: ['lora', 'generate'], rows: ['heavy'], model: ['qwen2', 'opt'], ...brief },
  ],
}

function byTokens(a, b) { return laws[a].longest - laws[b].longest }

const listed = { peer: Object.keys(peers), forms, case: Object.keys(titles), rows: Object.keys(laws), dtype: dtypes, model: Object.keys(models), sides }
const counts = ['rounds', 'steps', 'seconds', 'threads', 'prompt', 'new']
const switches = ['quick', 'full', 'resume', 'write', 'page', 'curves', 'parallel', 'help']

/** Checks a list of names. @throws PlanError `bench.flag` */
function names(flag, text) {
  const given = text.split(',').filter(Boolean), wrong = given.find((name) => !listed[flag].includes(name))
  if (given.length === 0 || wrong !== undefined) throw new PlanError('bench.flag', `expected one or more of ${listed[flag].join(', ')} for --${flag}, got ${wrong ?? 'none'}; try --${flag} ${listed[flag].slice(0, 2).join(',')}`, { flag, given })
  return given
}

function count(flag, text) {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new PlanError('bench.flag', `expected a whole number from 1 up for --${flag}, got ${text}; try --${flag} 2`, { flag, given: text })
  return value
}

/** Words of the command line → `{ runs: settings[], write, page, curves, parallel, help }`. @throws PlanError `bench.flag` */
export function parse(words) {
  const options = Object.fromEntries([...Object.keys(listed), ...counts, 'batches'].map((name) => [name, { type: 'string' }]).concat(switches.map((name) => [name, { type: 'boolean', default: false }])))
  let values
  try { ({ values } = parseArgs({ args: words, options })) } catch (error) { throw new PlanError('bench.flag', `${error.message}; npm run bench -- --help lists the flags`, { words }) }
  const given = Object.fromEntries(Object.entries(values).flatMap(([flag, text]) => {
    if (flag in listed) return [[flag, names(flag, text)]]
    if (flag === 'batches') return [[flag, text.split(',').map((part) => count(flag, part))]]
    return counts.includes(flag) ? [[flag, count(flag, text)]] : []
  }))
  if (values.quick && values.full) throw new PlanError('bench.flag', 'got --quick and --full at once; give one of them', {})
  const set = values.quick ? sets.quick : values.full ? sets.full : [{}]
  return { runs: set.map((entry) => ({ ...defaults, ...entry, ...given, curveSteps: given.steps ?? 200 })), ...Object.fromEntries(switches.map((name) => [name, values[name]])) }
}

/** Why a side has no part in a case; null: it has. */
export function refusal({ case: name, model }, side) {
  const [peer] = side.split(':')
  if (side === 'fettle-run' && name === 'generate') return 'the run of the SDK is timed in training'
  if (peer === 'torchtune' && name === 'prefix') return 'torchtune has no prefix tuning'
  if (peer === 'torchtune' && model === 'opt') return 'torchtune has no OPT'
  if (peer === 'trl' && name === 'generate') return 'TRL has no generation of its own; --peer peft runs that of transformers'
  return null
}

/** Why nobody runs a case; null: it is run. */
function impossible({ case: name, model, rows }) {
  const length = name === 'generate' ? 0 : laws[rows].longest + (name === 'prefix' ? 128 : 0)
  return length > models[model].positions ? `${models[model].title} has ${models[model].positions.toLocaleString('en-US')} positions, too few for ${laws[rows].title}` : null
}

function sidesOf(settings) {
  return settings.sides.flatMap((side) => (side === 'peer' ? settings.peer.flatMap((peer) => settings.forms.map((form) => `${peer}:${form}`)) : [side]))
}

/**
 * Cases of settings on a CPU, each with `sides` and `refused`. Where the CPU does not multiply bf16, ATen emulates it, at a few
 * tokens a second: there the peers' bf16 runs for the fewest steps, and fp32, which a user of theirs would choose on such a CPU, is
 * the comparison that means something.
 */
export function casesOf(settings, cpu) {
  const emulated = !multipliesBf16(cpu), all = sidesOf(settings)
  const types = settings.dtype ?? (settings.oneDtype ? [emulated ? 'fp32' : 'bf16'] : emulated || settings.both ? ['fp32', 'bf16'] : ['bf16'])
  const spared = ({ dtype, rows, batch }) => settings.both && settings.dtype === undefined && emulated && dtype === 'bf16' && rows !== 'short' && batch !== 1
  const cells = settings.model.flatMap((model) => settings.case.flatMap((name) => (name === 'generate' ? settings.batches.map((batch) => ({ batch })) : settings.rows.map((rows) => ({ rows }))).flatMap((what) => types.map((dtype) => ({ model, case: name, dtype, ...what })))))
  return cells.filter((cell) => !spared(cell)).map((cell) => {
    const slow = emulated && cell.dtype === 'bf16', long = laws[cell.rows]?.longest > 1000, reasons = all.map((side) => [side, impossible(cell) ?? refusal(cell, side)])
    return {
      ...cell, key: keyOf(cell), threads: settings.threads ?? cpu.cores, prompt: settings.prompt, fresh: settings.new, seconds: settings.seconds, patience: slow ? patienceEmulated : patience, emulated: slow,
      rounds: slow ? 1 : settings.rounds, steps: slow ? (long ? 1 : 2) : settings.steps,
      // Its first batch is the largest: minutes a step there.
      skip: slow && cell.rows === 'heavy' ? 1 : 0,
      sides: reasons.filter(([, why]) => why === null).map(([side]) => side), refused: Object.fromEntries(reasons.filter(([side, why]) => why !== null && side !== 'fettle-run')),
    }
  })
}

/** Name of a case, by which its result is kept. */
export function keyOf({ model, case: name, dtype, rows, batch }) { return [model, name, name === 'generate' ? `batch-${batch}` : rows, dtype].join('/') }

/** What a table calls a case. */
export function titleOf({ model, case: name, dtype, rows, batch, prompt, fresh }) {
  const what = name === 'generate' ? `batch ${batch}, ${prompt} tokens in, ${fresh} out` : `${laws[rows].batch} ${laws[rows].batch === 1 ? laws[rows].title.replace('rows', 'row') : laws[rows].title} a step`
  return `${titles[name]}, ${models[model].title}, ${dtype}, ${what}`
}

/** What a table calls a side. */
export function nameOf(side) {
  const own = { fettle: 'Fettle', 'fettle-run': 'Fettle, a run of the SDK', 'fettle-plain': 'Fettle, plain blocks' }
  const [peer, form] = side.split(':')
  return own[side] ?? `${peers[peer]}, ${form}`
}
