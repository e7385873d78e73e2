import { meshName } from '../../parallel/mesh/shape'
import { defaultAlpha, defaultLora, defaultPlan, defaultPrefix, settle } from '../../plan/defaults'
import type { Cadence, GenerationPlan, LoraPlan, Plan } from '../../plan/plan'
import { cpuPass } from '../../train/cut'
import { rateText, whole } from '../format'

/** One setting of a plan, as it is read. */
export interface Setting {
  readonly name: string
  readonly value: string
  /** Differs from what a fresh builder would have. */
  readonly changed: boolean
}

export interface SettingGroup { readonly title: string; readonly settings: readonly Setting[] }

export function cadenceText(cadence: Cadence): string {
  if (cadence.by === 'no') return 'never'
  return cadence.by === 'epoch' ? "at each epoch's end" : cadence.every === 1 ? 'each step' : `each ${whole(cadence.every)} steps`
}

const yes = (value: boolean): string => value ? 'yes' : 'no'

function warmupText({ schedule }: Plan): string {
  if (schedule.warmupSteps > 0) return `${whole(schedule.warmupSteps)} steps`
  return schedule.warmupRatio > 0 ? `${Number((schedule.warmupRatio * 100).toPrecision(4))}% of all steps` : 'none'
}

function samplingText(g: GenerationPlan): string {
  return [g.temperature === 0 ? 'greedy' : `temperature ${g.temperature}, top-k ${g.topK || 'off'}, top-p ${g.topP}, seed ${g.seed}`, `up to ${whole(g.maxNewTokens)} tokens`,
    ...(g.minNewTokens > 0 ? [`at least ${g.minNewTokens}`] : []), ...(g.stop.length > 0 ? [`stops at ${g.stop.map((text) => JSON.stringify(text)).join(', ')}`] : [])].join(', ')
}

type Reader = readonly [name: string, read: (plan: Plan) => string | null]

/** Of a new adapter; one to go on from brings its own. */
const ofNew = (name: string, read: (lora: LoraPlan) => string): Reader => [name, ({ lora }) => (lora?.from === null ? read(lora) : null)]

const loraReaders: readonly Reader[] = [
  ofNew('rank', ({ rank }) => String(rank)), ofNew('alpha', ({ alpha }) => String(alpha)), ['dropout', ({ lora }) => lora && String(lora.dropout)],
  ofNew('targets', ({ targets }) => (typeof targets === 'string' ? targets : targets.join(', '))),
  ['begins as', ({ lora }) => (lora?.pissa ? 'the principal part of each weight (PiSSA)' : null)],
  ofNew('scale', ({ rsLora }) => (rsLora ? 'alpha / √rank (rsLoRA)' : 'alpha / rank')), ofNew('lengths of rows', ({ dora }) => (dora ? 'trained (DoRA)' : 'as they are')),
  ['rate of B', ({ lora }) => lora && (lora.plusRatio === 1 ? 'as that of A' : `${lora.plusRatio} × that of A (LoRA+)`)],
  ofNew('other ranks', ({ rankPattern }) => tableText(rankPattern)), ofNew('other alphas', ({ alphaPattern }) => tableText(alphaPattern)),
]

function tableText(table: Readonly<Record<string, number>>): string {
  const entries = Object.entries(table)
  return entries.length === 0 ? 'none' : entries.map(([name, value]) => `${name} ${value}`).join(', ')
}

function scheduleText({ schedule: { type, cycles, endRate, power } }: Plan): string {
  if (type === 'polynomial') return `polynomial of power ${power} to ${rateText(endRate)}`
  return type === 'cosine' && cycles !== 0.5 ? `cosine of ${cycles} waves` : type
}

function bestText({ best }: Plan): string {
  const { metric, greaterIsBetter, load, patience, minDelta } = best
  if (!load && patience === null) return 'not looked for'
  return [`by ${metric ?? 'loss'}${greaterIsBetter === null ? '' : greaterIsBetter ? ' (higher is better)' : ' (lower is better)'}`, ...(load ? ['loaded at the end'] : []),
    ...(patience === null ? [] : [`the run ends after ${patience} evaluations without a better one`]), ...(minDelta > 0 ? [`better by more than ${minDelta}`] : [])].join(', ')
}

const groups: readonly (readonly [title: string, readers: readonly Reader[]])[] = [
  ['What trains', [
    ['model', (p) => p.model], ['method', (p) => ({ lora: 'LoRA', prefix: 'prefix', sft: 'all weights' })[p.method]],
    ['prefix', (p) => p.prefix && `${whole(p.prefix.tokens)} tokens`], ['projection', (p) => p.prefix && (p.prefix.projection ? `through ${p.prefix.projectionSize === null ? 'the hidden size' : whole(p.prefix.projectionSize)}` : 'no')],
    ...loraReaders, ['goes on from', (p) => (p.lora ?? p.prefix)?.from ?? null], ['NEFTune', (p) => p.neftune === null ? 'off' : `alpha ${p.neftune}`],
    ['resume', (p) => p.resume === null ? 'no' : p.resume === true ? 'newest checkpoint' : p.resume],
    ['a resume reads', (p) => p.resume === null ? null : p.resumeData === 'restart' ? 'the data from its beginning' : 'on where it stood'],
  ]],
  ['Data', [
    ['path', (p) => p.data.path ?? 'none yet'], ['longest source', (p) => `${whole(p.data.srcLength)} tokens`], ['longest row', (p) => `${whole(p.data.maxLength)} tokens`],
    ['template', (p) => p.data.template], ['system', (p) => p.data.system ?? 'none'],
    ['packing', (p) => p.data.packing ? 'rows are packs up to the longest row' : 'a row is a record'], ['read', (p) => p.data.lazy ? `as a stream, shuffled among ${whole(p.data.shuffleBuffer)} rows` : 'prepared once, on disk'],
    ['order', (p) => p.data.seed === null ? 'by the seed' : `by seed ${p.data.seed}`], ['last batch', (p) => p.data.dropLast ? 'left out unless it is full' : 'kept'],
  ]],
  ['Length', [
    ['train', (p) => yes(p.train)], ['steps', (p) => p.steps === null ? null : whole(p.steps)], ['epochs', (p) => p.steps === null ? String(p.epochs) : null],
    ['batch', (p) => `${whole(p.batch.size)} rows`], ['accumulate', (p) => `${whole(p.batch.accumulate)} batch${p.batch.accumulate === 1 ? '' : 'es'}`], ['token budget', (p) => (p.batch.tokens === null ? `${whole(cpuPass)} on CPUs` : `${whole(p.batch.tokens)} tokens a pass`)],
  ]],
  ['Optimizer', [
    ['learning rate', (p) => rateText(p.optimizer.learningRate)], ['schedule', scheduleText], ['warm-up', warmupText],
    ['weight decay', (p) => String(p.optimizer.weightDecay)], ['clip norm', (p) => p.optimizer.maxGradNorm === 0 ? 'off' : String(p.optimizer.maxGradNorm)],
    ['AdamW', (p) => `β ${p.optimizer.beta1}, ${p.optimizer.beta2}, ε ${p.optimizer.epsilon}`],
  ]],
  ['On the way', [
    ['evaluate', (p) => cadenceText(p.evaluate)], ['evaluate at end', (p) => yes(p.evalAtEnd)], ['evaluation', (p) => p.evaluation.generate ? `BLEU-4 and Rouge of answers (${samplingText(p.evaluation.generation)})${p.evaluation.saveOutput ? ', written to generated_output.json' : ''}` : 'loss, perplexity, accuracy'],
    ['test rows', (p) => (p.predict ? 'evaluated at the end' : 'left alone')], ['best checkpoint', bestText], ['evaluation batch', (p) => `${whole(p.batch.evalSize)} rows`],
    ['sample', (p) => cadenceText(p.sample.cadence)], ['prompts', (p) => p.sample.prompts.length === 0 ? 'first rows of the data' : p.sample.prompts.map((text) => JSON.stringify(text)).join(', ')],
    ['answers', (p) => samplingText(p.sample.generation)], ['save', (p) => cadenceText(p.save.cadence)],
    ['quantize', (p) => p.quantize && `${p.quantize.algorithm}${p.quantize.algorithm.startsWith('weight_only') ? ', a scale a row' : `, blocks of ${p.quantize.blockSize}${p.quantize.doubleQuant ? `, scales in 8 bits by ${p.quantize.doubleQuantBlockSize}` : ''}`}`],
    ['upload', (p) => p.upload && `to ${p.upload.repository} of ${{ huggingface: 'Hugging Face', aistudio: 'AI Studio' }[p.upload.to]}, ${p.upload.private ? 'private' : 'public'}${p.upload.license === null ? '' : `, ${p.upload.license}`}`],
    ['keep', (p) => p.save.keep === null ? 'all checkpoints' : `${p.save.keep} checkpoint${p.save.keep === 1 ? '' : 's'}`], ['show', (p) => cadenceText({ by: 'steps', every: p.logEvery })],
  ]],
  ['Machine', [
    ['precision', (p) => p.precision === 'fp16' ? `fp16 ${p.fp16.level}, loss scale from ${whole(p.fp16.lossScale)}` : p.precision], ['recompute', (p) => p.recompute === 'none' ? 'where memory asks for it' : p.recompute], ['device', (p) => p.device], ['blocks', (p) => p.blocks], ['threads', (p) => p.threads === null ? 'all cores' : whole(p.threads)],
    ['mesh', (p) => meshName(p.mesh) || null], ['GPUs', (p) => p.mesh.devices && p.mesh.devices.join(', ')], ['sums', (p) => (p.deterministic ? 'in the same order on any number of ranks' : null)], ['graphs', (p) => (p.cudaGraphs ? 'of micro-batches on the GPU' : null)], ['restart', (p) => (p.restart === 0 ? null : `up to ${whole(p.restart)} time${p.restart === 1 ? '' : 's'} after a death`)],
    ['seed', (p) => String(p.seed)], ['output', (p) => p.output], ['overwrite', (p) => yes(p.overwrite)], ['bars', (p) => yes(p.progress)], ['figures for', (p) => (p.report.length === 0 ? 'metrics.jsonl' : `metrics.jsonl, ${p.report.join(', ')}`)],
  ]],
]

/** What a fresh builder would have where this plan's model, method, row length, batch and evaluation are given: what follows from them is no setting of its own. */
function fresh(plan: Plan): Plan {
  const base = defaultPlan(plan.model)
  return settle({ ...base, method: plan.method, prefix: plan.prefix && defaultPrefix, lora: plan.lora && { ...defaultLora, alpha: defaultAlpha(plan.lora.rank, plan.lora.rsLora) }, evalAtEnd: plan.evaluate.by !== 'no', batch: { ...base.batch, evalSize: plan.batch.size }, data: { ...base.data, maxLength: plan.data.maxLength } }, new Set())
}

/** Always told: no default says what they are. */
const given = new Set(['model', 'path'])

/** All settings of a plan in groups, changed ones marked. */
export function settingGroups(plan: Plan): SettingGroup[] {
  const start = fresh(plan)
  // The row's length decides the start's other lengths, so it is compared with the one of a bare builder.
  const bare = defaultPlan(plan.model)
  return groups.map(([title, readers]) => ({
    title,
    settings: readers.flatMap(([name, read]): Setting[] => {
      const value = read(plan)
      if (value === null) return []
      const usual = name === 'longest row' || name === 'method' ? read(bare) : read(start)
      return [{ name, value, changed: given.has(name) || value !== usual }]
    }),
  }))
}
