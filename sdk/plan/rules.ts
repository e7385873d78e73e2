/** What each value of a plan may be, once, for builders, argument files, flags and received plans. */
export interface Rule {
  /** The `<what>` of "expected <what> for …". */
  readonly expected: string
  /** A value to write instead. */
  readonly example: unknown
  readonly ok: (value: unknown) => boolean
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
const isText = (value: unknown): value is string => typeof value === 'string' && value.trim().length > 0

/** A whole number in a range. */
export function whole(min: number, example: number, max = Number.MAX_SAFE_INTEGER): Rule {
  const expected = max < Number.MAX_SAFE_INTEGER ? `a whole number from ${min} to ${max}` : `a whole number of at least ${min}`
  return { expected, example, ok: (value) => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max }
}
function real(expected: string, example: number, inside: (value: number) => boolean): Rule {
  return { expected, example, ok: (value) => isNumber(value) && inside(value) }
}
function text(expected: string, example: string): Rule { return { expected, example, ok: isText } }
function list(expected: string, example: readonly string[], min: number): Rule {
  return { expected, example, ok: (value) => Array.isArray(value) && value.length >= min && value.every((item) => typeof item === 'string' && item !== '') }
}
/** One of a few values. */
export function oneOf(...values: readonly unknown[]): Rule {
  const names = values.map((value) => JSON.stringify(value))
  return { expected: `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`, example: values[0], ok: (value) => values.includes(value) }
}
const numbers: Rule = {
  expected: 'an object of numbers above 0 by module name', example: { q_proj: 16 },
  ok: (value) => typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every((each) => isNumber(each) && each > 0),
}
/** A regular expression that can be read. */
function isPattern(text: string): boolean {
  try { return new RegExp(text) instanceof RegExp } catch { return false }
}
const flag: Rule = { expected: 'true or false', example: true, ok: (value) => typeof value === 'boolean' }

/** The same rule, with `null` allowed too. */
export function orNull(rule: Rule): Rule {
  return { ...rule, expected: `${rule.expected}, or null`, ok: (value) => value === null || rule.ok(value) }
}

const dataPath = text('a folder with train.json, or a JSONL file', 'data/advertise')
const steps = whole(1, 200)
const above0 = 'a number above 0'
const from0 = 'a number of at least 0'
const share = 'a number of at least 0 and below 1'

/** What a plan's `method` may be. */
export const trainingMethods = ['sft', 'lora', 'prefix'] as const

/** One rule a leaf of the plan, by its path. */
export const rules = {
  version: oneOf(1),
  model: text('a model name (folder, file, builtin:… or hub repository)', 'HuggingFaceTB/SmolLM2-135M-Instruct'),
  method: oneOf(...trainingMethods),
  'lora.rank': whole(1, 8, 65536),
  'lora.alpha': real(above0, 16, (value) => value > 0),
  'lora.dropout': real(share, 0.05, (value) => value >= 0 && value < 1),
  'lora.targets': {
    expected: '"all-linear", a list of module names or globs, or a regular expression', example: ['q_proj', 'v_proj'],
    ok: (value: unknown) => (isText(value) && isPattern(value)) || (Array.isArray(value) && value.length > 0 && value.every(isText)),
  },
  'lora.rsLora': flag,
  'lora.dora': flag,
  'lora.pissa': flag,
  'lora.plusRatio': real(above0, 16, (value) => value > 0),
  'lora.rankPattern': {
    expected: 'an object of whole numbers from 1 by module name or regular expression', example: { q_proj: 16 },
    ok: (value: unknown) => numbers.ok(value) && Object.entries(value as object).every(([name, rank]) => isPattern(name) && Number.isInteger(rank)),
  },
  'lora.alphaPattern': {
    expected: 'an object of numbers above 0 by module name or regular expression', example: { q_proj: 32 },
    ok: (value: unknown) => numbers.ok(value) && Object.keys(value as object).every(isPattern),
  },
  'lora.from': orNull(text('the folder of an adapter', 'output/my-run')),
  'prefix.tokens': whole(1, 128, 65536),
  'prefix.projection': flag,
  'prefix.projectionSize': orNull(whole(1, 512)),
  'prefix.from': orNull(text('the folder of a prefix', 'output/my-run')),
  neftune: orNull(real(from0, 5, (value) => value >= 0)),
  'data.path': orNull(dataPath),
  'data.srcLength': whole(1, 512),
  'data.maxLength': whole(2, 1024),
  'data.template': text('"auto", "none" or the path of a Jinja template', 'auto'),
  'data.system': orNull({ expected: 'a text', example: 'You are helpful.', ok: (value) => typeof value === 'string' }),
  'data.packing': flag,
  'data.lazy': flag,
  'data.shuffleBuffer': whole(1, 10_000),
  'data.seed': orNull(whole(0, 1)),
  'data.dropLast': flag,
  precision: oneOf('fp32', 'bf16', 'fp16'),
  'fp16.level': oneOf('O1', 'O2'),
  'fp16.lossScale': real(above0, 32768, (value) => value > 0),
  recompute: oneOf('none', 'full', 'full_attn', 'core_attn'),
  device: oneOf('auto', 'cpu', 'cuda'),
  blocks: oneOf('auto', 'plain'),
  'optimizer.learningRate': real(above0, 1e-4, (value) => value > 0),
  'optimizer.weightDecay': real(from0, 0.01, (value) => value >= 0),
  'optimizer.beta1': real(share, 0.9, (value) => value >= 0 && value < 1),
  'optimizer.beta2': real(share, 0.999, (value) => value >= 0 && value < 1),
  'optimizer.epsilon': real(above0, 1e-8, (value) => value > 0),
  'optimizer.maxGradNorm': real('a number of at least 0 (0: no clipping)', 1, (value) => value >= 0),
  'schedule.type': oneOf('linear', 'cosine', 'constant', 'constant_with_warmup', 'polynomial'),
  'schedule.warmupSteps': whole(0, 30),
  'schedule.warmupRatio': real('a number from 0 to 1', 0.03, (value) => value >= 0 && value <= 1),
  'schedule.cycles': real(above0, 0.5, (value) => value > 0),
  'schedule.endRate': real(from0, 1e-7, (value) => value >= 0),
  'schedule.power': real(above0, 1, (value) => value > 0),
  'batch.size': whole(1, 8),
  'batch.evalSize': whole(1, 8),
  'batch.accumulate': whole(1, 4),
  'batch.tokens': orNull(whole(1, 2048)),
  epochs: real(above0, 3, (value) => value > 0),
  steps: orNull(steps),
  'evaluation.generate': flag,
  'evaluation.saveOutput': flag,
  'best.metric': orNull(text('a figure of an evaluation', 'accuracy')),
  'best.greaterIsBetter': orNull(flag),
  'best.load': flag,
  'best.patience': orNull(whole(1, 3)),
  'best.minDelta': real(from0, 0, (value) => value >= 0),
  'cadence.every': whole(1, 50),
  'cadence.each': oneOf('epoch', 'never'),
  'sample.prompts': list('a list of prompts', ['Hello!'], 0),
  'generation.maxNewTokens': whole(1, 64),
  'generation.minNewTokens': whole(0, 0),
  'generation.temperature': real('a number of at least 0 (0: greedy)', 0.7, (value) => value >= 0),
  'generation.topK': whole(0, 50),
  'generation.topP': real('a number above 0 and at most 1', 0.9, (value) => value > 0 && value <= 1),
  'generation.seed': whole(0, 1),
  'generation.stop': list('a list of texts that end an answer', ['\n\n'], 0),
  'save.keep': orNull(whole(1, 2)),
  'quantize.algorithm': oneOf('nf4', 'fp4', 'weight_only_int8', 'weight_only_int4'),
  'quantize.blockSize': { expected: 'an even number of at least 2', example: 64, ok: (value) => whole(2, 64).ok(value) && (value as number) % 2 === 0 },
  'quantize.doubleQuant': flag,
  'quantize.doubleQuantBlockSize': whole(1, 256),
  'upload.to': oneOf('huggingface', 'aistudio'),
  'upload.repository': {
    expected: 'a repository as OWNER/NAME', example: 'me/my-run',
    ok: (value: unknown) => typeof value === 'string' && /^[\w.-]+\/[\w.-]+$/.test(value) && !value.split('/').some((part) => /^\.+$/.test(part)),
  },
  'upload.private': flag,
  'upload.license': orNull(text('the name of a licence', 'apache-2.0')),
  logEvery: whole(1, 10),
  train: flag,
  evalAtEnd: flag,
  predict: flag,
  seed: whole(0, 1),
  output: text('a folder to write to', 'output/my-run'),
  overwrite: flag,
  resume: {
    expected: 'the path of a checkpoint, true (the newest in the output folder) or null', example: true,
    ok: (value: unknown) => value === null || value === true || isText(value),
  },
  resumeData: oneOf('continue', 'restart'),
  progress: flag,
  report: {
    expected: 'a list of "tensorboard" and "mlflow"', example: ['tensorboard'],
    ok: (value: unknown) => Array.isArray(value) && value.every((kind) => kind === 'tensorboard' || kind === 'mlflow') && new Set(value).size === value.length,
  },
  'mesh.dp': whole(1, 2),
  'mesh.tp': whole(1, 2),
  'mesh.pp': whole(1, 2),
  'mesh.virtual': whole(1, 2),
  'mesh.sharding.degree': whole(1, 2),
  'mesh.sharding.stage': oneOf(0, 1, 2, 3),
  'mesh.sequenceParallel': flag,
  'mesh.devices': orNull({
    expected: 'a list of numbers of GPUs, each once', example: [0, 1],
    ok: (value) => Array.isArray(value) && value.length > 0 && value.every((id) => Number.isSafeInteger(id) && id >= 0) && new Set(value).size === value.length,
  }),
  deterministic: flag, cudaGraphs: flag,
  restart: whole(0, 3),
  threads: orNull(whole(1, 2, 4096)),
  // What a builder call takes, where the plan may also hold null.
  'call.data': dataPath,
  'call.steps': steps,
  // What tools compute in; training has more.
  'call.dtype': oneOf('fp32', 'bf16'),
} satisfies Record<string, Rule>

export type RuleName = keyof typeof rules

/** A rule by name, under its common type. */
export function rule(name: RuleName): Rule { return rules[name] }
