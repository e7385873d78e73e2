import { join } from 'node:path'
import { baseModelOf } from '../adapters/kind'
import { isAdapterFolder } from '../adapters/peft-config'
import { PlanError } from '../errors'
import type { Decoder } from '../models/decoder'
import { defaultPlan } from '../plan/defaults'
import type { Tokenizer } from '../tokenizers'
import type { Command } from './command'
import { exitCodes } from './exit'
import { takePositionals, type Flag, type Parsed } from './flags'
import { lazy } from './lazy'
import { localModel, modelFlags, prepareDevice } from './model'
import type { Terminal } from './terminal'

/** How tokens are drawn. */
export const drawing: readonly Flag[] = [
  { name: 'temperature', type: 'number', value: 'X', help: 'above 0 tokens are drawn; 0 takes the likeliest (0)', rule: 'generation.temperature' },
  { name: 'top-k', type: 'number', value: 'N', help: 'draw from the N likeliest; 0: all (0)', rule: 'generation.topK' },
  { name: 'top-p', type: 'number', value: 'X', help: 'draw from the likeliest that reach this probability (1)', rule: 'generation.topP' },
  { name: 'seed', type: 'number', value: 'N', help: 'seed of the draws (0)', rule: 'generation.seed' },
]

export const generateCommand: Command = {
  name: 'generate',
  summary: 'continue a prompt',
  usage: ['generate MODEL --chat TEXT', 'generate ADAPTER --chat TEXT', 'generate MODEL --prompt TEXT [--max-new-tokens N] [--temperature X]', 'generate MODEL --ids "5,17,9" --json'],
  flags: [
    { name: 'chat', type: 'text', help: "a message, put into the model's chat template" },
    { name: 'prompt', type: 'text', help: 'a text to continue as it stands' },
    { name: 'ids', type: 'text', value: '"5,17,9"', help: 'token ids to continue; needs no tokenizer' },
    { name: 'system', type: 'text', help: 'system message before --chat' },
    { name: 'adapter', type: 'text', value: 'DIR', help: 'a LoRA adapter to put on the model' },
    { name: 'max-new-tokens', type: 'number', value: 'N', help: 'most new tokens (128)', rule: 'generation.maxNewTokens' },
    { name: 'min-new-tokens', type: 'number', value: 'N', help: 'no end before so many (0)', rule: 'generation.minNewTokens' },
    ...drawing,
    { name: 'stop', type: 'text', help: 'a text that ends the answer' },
    ...modelFlags,
  ],
  run: generate,
}

async function generate(parsed: Parsed, terminal: Terminal): Promise<number> {
  const [name] = takePositionals(parsed, ['MODEL'], 'generate')
  const { values } = parsed
  const given = ['chat', 'prompt', 'ids'].filter((flag) => values[flag] !== undefined)
  if (given.length !== 1) throw new PlanError('cli.prompt', `expected one of --chat, --prompt and --ids, got ${given.map((flag) => `--${flag}`).join(' and ') || 'none'}; try --chat 'Hello!'`, { given })
  const { model, adapter } = baseAndAdapter(name, values.adapter as string | undefined)
  const path = await localModel(model, terminal)
  const tokenizer = lazy.tokenizers().loadTokenizer(path)
  const ids = await promptIds(values, tokenizer)
  const decoder = loadDecoder(path, adapter, values)
  const answer = await continueIds(decoder, ids, tokenizer, values, values.json ? null : terminal)
  if (values.json) terminal.out(`${JSON.stringify(answer)}\n`)
  return exitCodes.ok
}

/** The folder of an adapter stands for its base with it: the output of a run of an adapter answers as it is. */
function baseAndAdapter(name: string, adapter: string | undefined): { model: string; adapter: string | undefined } {
  const base = adapter === undefined && isAdapterFolder(name) ? baseModelOf(name) : null
  return base === null ? { model: name, adapter } : { model: base, adapter: name }
}

async function promptIds(values: Parsed['values'], tokenizer: Tokenizer): Promise<number[]> {
  if (values.ids !== undefined) return parseIds(values.ids as string)
  if (values.prompt !== undefined) return tokenizer.encode(values.prompt as string, { special: true })
  const system = values.system === undefined ? [] : [{ role: 'system', content: values.system as string }]
  return tokenizer.encodeChat([...system, { role: 'user', content: values.chat as string }], { addGenerationPrompt: true })
}

/** `5,17,9` or `[5, 17, 9]` or `5 17 9`. */
function parseIds(text: string): number[] {
  const parts = text.replace(/^\s*\[|\]\s*$/g, '').split(/[\s,]+/).filter((part) => part !== '')
  const wrong = parts.find((part) => !/^\d+$/.test(part))
  if (parts.length === 0 || wrong !== undefined) throw new PlanError('cli.ids', `expected token ids for --ids, got ${JSON.stringify(wrong ?? text)}; try --ids "5,17,9"`, { text })
  return parts.map(Number)
}

function loadDecoder(path: string, adapter: string | undefined, values: Parsed['values']): Decoder {
  const device = prepareDevice(values)
  const { Decoder } = lazy.decoder()
  const weights = lazy.weights().openWeights(path)
  try {
    const parameters = lazy.native().noGrad(() => lazy.load().loadParameters(weights, { dtype: values.dtype === 'bf16' ? 'bfloat16' : 'float32', device, train: false }))
    if (adapter !== undefined) lazy.adapter().loadAdapter(parameters, adapter)
    return new Decoder(parameters, lazy.blocks().chooseBlocks({ device, dtype: parameters.dtype, blocks: values.blocks === 'plain' ? 'plain' : 'auto' }))
  } finally { weights.close() }
}

/** New ids and their text; `null` text where the model has no tokenizer. Pieces go to the terminal as they come. */
async function continueIds(decoder: Decoder, ids: number[], tokenizer: Tokenizer, values: Parsed['values'], terminal: Terminal | null): Promise<{ ids: number[]; text: string | null }> {
  const readable = values.ids === undefined || isReadable(tokenizer)
  const stop = values.stop === undefined ? [] : [values.stop as string]
  const text = readable ? new (lazy.answerText().AnswerText)(tokenizer, stop, (piece) => terminal?.out(piece)) : null
  const answer: number[] = []
  for await (const { id } of lazy.generate().generateTokens(decoder, [ids], {
    maxNewTokens: (values['max-new-tokens'] as number | undefined) ?? 128, minNewTokens: values['min-new-tokens'] as number | undefined,
    temperature: values.temperature as number | undefined, topK: values['top-k'] as number | undefined, topP: values['top-p'] as number | undefined, seed: values.seed as number | undefined,
    stopIds: await stopIds(decoder, tokenizer, values),
  })) {
    answer.push(id)
    if (text) text.push(id)
    else terminal?.out(`${answer.length > 1 ? ',' : ''}${id}`)
    if (text?.ended) break
  }
  const whole = text?.end() ?? null
  terminal?.out('\n')
  return { ids: answer, text: whole }
}

/** With --chat an answer ends where the template ends one, as in a run. */
async function stopIds(decoder: Decoder, tokenizer: Tokenizer, values: Parsed['values']): Promise<readonly number[]> {
  const { eosIds } = decoder.parameters.architecture
  if (values.chat === undefined) return eosIds
  const { chatStopIds, rowEncoder } = lazy.encode()
  const { data } = defaultPlan('')
  return chatStopIds(eosIds, tokenizer, rowEncoder(tokenizer, { ...data, system: (values.system as string | undefined) ?? null }))
}

/** A model without a tokenizer has a stand-in that throws at its first use. */
function isReadable(tokenizer: Tokenizer): boolean {
  try {
    tokenizer.decode([])
    return true
  } catch { return false }
}
