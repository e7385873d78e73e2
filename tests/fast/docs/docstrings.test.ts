import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { sft } from 'fettle'
import { defaultPrefix, defaultQuantize, defaultUpload } from 'fettle/dist/plan/defaults'
import { rule, type RuleName } from 'fettle/dist/plan/rules'
import * as ts from 'typescript'
import { repoRoot } from '../../support/paths'

const sources = path.join(repoRoot, 'sdk') + path.sep
const packages = ['sdk', 'kernel'].map((name) => path.join(repoRoot, name) + path.sep)
const program = ts.createProgram(packages.map((folder) => path.join(folder, 'index.ts')), {
  noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16, types: ['node'],
})
const checker = program.getTypeChecker()
const docsOf = (symbol: ts.Symbol) => ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim()
const target = (symbol: ts.Symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol)
const namesOf = (folder: string) => checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(path.join(folder, 'index.ts'))!)!).map(target)
const publicNames = namesOf(sources)

/** Declared by Fettle, for its users: neither the library's or another package's, nor private. */
function isOurs(symbol: ts.Symbol): boolean {
  return (symbol.declarations ?? []).some((declaration) => {
    const hidden = ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)
    const name = ts.getNameOfDeclaration(declaration)
    return packages.some((folder) => declaration.getSourceFile().fileName.startsWith(folder)) && !hidden && !(name && (ts.isPrivateIdentifier(name) || ts.isComputedPropertyName(name)))
      && !ts.getJSDocTags(declaration).some((tag) => tag.tagName.text === 'internal')
  })
}

/** `each?: undefined` only says that another member of a union is meant, and `type: 'step'` which one is. */
function isMark(symbol: ts.Symbol): boolean {
  return (checker.getTypeOfSymbol(symbol).flags & (ts.TypeFlags.Undefined | ts.TypeFlags.StringLiteral)) !== 0
}

function undocumented(symbol: ts.Symbol, name: string): string[] {
  const missing = docsOf(symbol) === '' && !(symbol.flags & ts.SymbolFlags.Namespace) ? [name] : []
  if (symbol.flags & ts.SymbolFlags.Module) missing.push(...checker.getExportsOfModule(symbol).flatMap((member) => undocumented(target(member), `${name}.${member.name}`)))
  if (!(symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias))) return missing
  const type = checker.getDeclaredTypeOfSymbol(symbol)
  for (const part of type.isUnionOrIntersection() ? type.types : [type]) for (const member of part.getProperties())
    if (isOurs(member) && !isMark(member) && docsOf(member) === '') missing.push(`${name}.${member.name}`)
  if (symbol.flags & ts.SymbolFlags.Class) for (const member of checker.getPropertiesOfType(checker.getTypeOfSymbol(symbol)))
    if (member.name !== 'prototype' && isOurs(member) && docsOf(member) === '') missing.push(`${name}.${member.name} (static)`)
  return missing
}

test('every public name and each of its members has a docstring', () => {
  const missing = packages.flatMap(namesOf).flatMap((symbol) => undocumented(symbol, symbol.flags & ts.SymbolFlags.Module ? 'examples' : symbol.name))
  assert.deepEqual([...new Set(missing)], [])
})

const { plan } = sft('m')
const lora = sft('m').lora().plan.lora!
/** Where each option's rule and default are. A default that no value says is given by its words. */
const options: Record<string, Record<string, readonly [RuleName, unknown]>> = {
  DataOptions: {
    srcLength: ['data.srcLength', plan.data.srcLength], maxLength: ['data.maxLength', plan.data.maxLength],
    template: ['data.template', plan.data.template], system: ['data.system', 'none'], packing: ['data.packing', plan.data.packing], lazy: ['data.lazy', plan.data.lazy],
    shuffleBuffer: ['data.shuffleBuffer', plan.data.shuffleBuffer], seed: ['data.seed', plan.data.seed], dropLast: ['data.dropLast', plan.data.dropLast] },
  LoraOptions: { rank: ['lora.rank', lora.rank], alpha: ['lora.alpha', '2 · rank'], dropout: ['lora.dropout', lora.dropout], targets: ['lora.targets', lora.targets],
    rsLora: ['lora.rsLora', lora.rsLora], dora: ['lora.dora', lora.dora], pissa: ['lora.pissa', lora.pissa], plusRatio: ['lora.plusRatio', lora.plusRatio], rankPattern: ['lora.rankPattern', 'Default `{}`'], alphaPattern: ['lora.alphaPattern', 'Default `{}`'],
    from: ['lora.from', 'none'],
  },
  PrefixOptions: { tokens: ['prefix.tokens', defaultPrefix.tokens], projection: ['prefix.projection', defaultPrefix.projection], projectionSize: ['prefix.projectionSize', defaultPrefix.projectionSize], from: ['prefix.from', 'none'] },
  Fp16Options: { level: ['fp16.level', plan.fp16.level], lossScale: ['fp16.lossScale', plan.fp16.lossScale] },
  BestOptions: {
    metric: ['best.metric', plan.best.metric], greaterIsBetter: ['best.greaterIsBetter', plan.best.greaterIsBetter], load: ['best.load', true],
    patience: ['best.patience', plan.best.patience], minDelta: ['best.minDelta', plan.best.minDelta],
  },
  ResumeOptions: { data: ['resumeData', plan.resumeData] },
  EvaluateOptions: { generate: ['evaluation.generate', plan.evaluation.generate], saveOutput: ['evaluation.saveOutput', plan.evaluation.saveOutput] },
  ScheduleOptions: { warmupSteps: ['schedule.warmupSteps', plan.schedule.warmupSteps], warmupRatio: ['schedule.warmupRatio', plan.schedule.warmupRatio], cycles: ['schedule.cycles', plan.schedule.cycles], endRate: ['schedule.endRate', plan.schedule.endRate], power: ['schedule.power', plan.schedule.power] },
  AdamOptions: { beta1: ['optimizer.beta1', plan.optimizer.beta1], beta2: ['optimizer.beta2', plan.optimizer.beta2], epsilon: ['optimizer.epsilon', plan.optimizer.epsilon] },
  CadenceOptions: { every: ['cadence.every', 'No default'], each: ['cadence.each', 'No default'] },
  GenerationOptions: {
    maxNewTokens: ['generation.maxNewTokens', plan.sample.generation.maxNewTokens], minNewTokens: ['generation.minNewTokens', plan.sample.generation.minNewTokens],
    temperature: ['generation.temperature', plan.sample.generation.temperature], topK: ['generation.topK', plan.sample.generation.topK],
    topP: ['generation.topP', plan.sample.generation.topP], seed: ['generation.seed', plan.sample.generation.seed], stop: ['generation.stop', 'none'],
  },
  SampleOptions: { prompts: ['sample.prompts', 'Default: the first rows of dev'] },
  SaveOptions: { keep: ['save.keep', plan.save.keep] },
  UploadOptions: { to: ['upload.to', defaultUpload.to], private: ['upload.private', defaultUpload.private], license: ['upload.license', 'none at Hugging Face'] },
  QuantizeOptions: { blockSize: ['quantize.blockSize', defaultQuantize.blockSize], doubleQuant: ['quantize.doubleQuant', defaultQuantize.doubleQuant], doubleQuantBlockSize: ['quantize.doubleQuantBlockSize', defaultQuantize.doubleQuantBlockSize] },
  LogOptions: { every: ['logEvery', plan.logEvery] },
  PipelineOptions: { virtual: ['mesh.virtual', plan.mesh.virtual] },
  ShardingOptions: { stage: ['mesh.sharding.stage', 1], degree: ['mesh.sharding.degree', 'No default'] },
}
/** Methods that take one value. */
const methods: Record<string, readonly [RuleName, unknown]> = {
  learningRate: ['optimizer.learningRate', plan.optimizer.learningRate], weightDecay: ['optimizer.weightDecay', plan.optimizer.weightDecay],
  maxGradNorm: ['optimizer.maxGradNorm', plan.optimizer.maxGradNorm], warmup: ['schedule.warmupSteps', plan.schedule.warmupSteps], epochs: ['epochs', plan.epochs],
  steps: ['call.steps', 'Default: as many'], batch: ['batch.size', plan.batch.size], accumulate: ['batch.accumulate', plan.batch.accumulate], seed: ['seed', plan.seed],
  device: ['device', plan.device], threads: ['threads', 'null'], blocks: ['blocks', plan.blocks], schedule: ['schedule.type', plan.schedule.type],
  tp: ['mesh.tp', plan.mesh.tp], pp: ['mesh.pp', plan.mesh.pp], dp: ['mesh.dp', plan.mesh.dp], gpus: ['mesh.devices', 'null'], restart: ['restart', plan.restart],
}

/** How a docstring says the range of a rule: `At least 1`, `From 0 to below 1`, `1 to 4096`. */
function rangeWords(name: RuleName): string | null {
  const expected = rule(name).expected.replace(/, or null$/, '').replace(/ \(.*\)$/, '')
  if (/^a (whole )?number of at least \S+ and below \S+$/.test(expected)) return expected.replace(/^.*at least (\S+) and below (\S+)$/, 'from $1 to below $2')
  const words = /^a (?:whole )?number (?:of )?((?:at least|above|from) .*)$/.exec(expected)?.[1]
  return words?.replace(' and at most', ', at most') ?? null
}

function disagreements(name: string, docs: string, ruleName: RuleName, value: unknown): string[] {
  const said = docs.toLowerCase()
  // Ranges that another option bounds say its name instead: `From 0 to maxNewTokens`.
  const range = rangeWords(ruleName)?.replace(/^from (?=\d+ to \d{2,})/, '')
  const low = range && /^at least (\S+)$/.exec(range)?.[1]
  const words = range === undefined || range === null ? [] : [range]
  const rangeSaid = words.every((text) => said.includes(text) || (low !== undefined && new RegExp(`from ${low} to \``).test(said)))
  const shown = typeof value === 'number' ? value.toString().replace(/^(\d)e-0*(\d)/, '$1e-$2') : String(value)
  const scientific = typeof value === 'number' && value > 0 && value < 1e-2 ? value.toExponential().replace('e-', 'e-') : shown
  const patterns = [shown, scientific].map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  const defaultSaid = /default/i.test(String(value)) ? docs.includes(String(value)) : new RegExp(`defaults?:? .*?[\`' ]*(${patterns.join('|')})(?![\\w.]\\d)`, 'i').test(docs)
  return [...(rangeSaid ? [] : [`${name}: the rule says "${range}", the docstring "${docs}"`]), ...(defaultSaid ? [] : [`${name}: the default is ${shown}, the docstring says "${docs}"`])]
}

test('docstrings of options state the range of the rule and the default of the code', () => {
  const found: string[] = []
  const file = program.getSourceFile(path.join(sources, 'plan', 'options.ts'))!
  for (const symbol of checker.getExportsOfModule(checker.getSymbolAtLocation(file)!)) {
    const known = options[symbol.name]
    assert.ok(known, `${symbol.name} is new: say here where its rules and defaults are`)
    const type = checker.getDeclaredTypeOfSymbol(symbol)
    const own = checker.getPropertiesOfType(type).length > 0 ? [type] : []
    const members = (type.isUnion() ? type.types : own).flatMap((part) => part.getProperties()).filter((member) => !isMark(member))
    const shared = ['SampleOptions', 'SaveOptions', 'EvaluateOptions'].includes(symbol.name) ? { ...options.CadenceOptions, ...options.GenerationOptions, ...known } : known
    for (const member of members) {
      const entry = shared[member.name]
      assert.ok(entry, `${symbol.name}.${member.name} is new: say here where its rule and default are`)
      found.push(...disagreements(`${symbol.name}.${member.name}`, docsOf(member), ...entry))
    }
  }
  assert.deepEqual([...new Set(found)], [])
})

test('docstrings of the builder\'s methods state them too', () => {
  const builder = checker.getDeclaredTypeOfSymbol(publicNames.find(({ name }) => name === 'Sft')!)
  const found = Object.entries(methods).flatMap(([name, [ruleName, value]]) => {
    const method = builder.getProperty(name)
    assert.ok(method, name)
    return disagreements(`Sft.${name}`, docsOf(method), ruleName, value)
  })
  assert.deepEqual(found, [])
})
