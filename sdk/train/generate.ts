import { noGrad, ops, scope, tensor } from 'fettle-native'
import { PlanError } from '../errors'
import type { Batch } from '../models/batch'
import { decodeMask, KeyValueCache } from '../models/cache'
import type { Decoder } from '../models/decoder'
import { onDevice } from '../models/device'
import { Sampler, type SamplingOptions } from './sampling'

/** How prompts are continued. */
export interface TokenOptions extends SamplingOptions {
  readonly maxNewTokens: number
  /** No stop token before this many. */
  readonly minNewTokens?: number
  /** Tokens that end a row; the last one given is part of the result. Default: the model's end-of-sequence ids. */
  readonly stopIds?: readonly number[]
  /** `false`: by the model as it came, an attached adapter left out. Default true. */
  readonly adapter?: boolean
}

/** One new token. `end` on a row's last: a stop token came, or maxNewTokens is reached. */
export interface NewToken { readonly row: number; readonly id: number; readonly end: 'stop' | 'length' | null }

/** Capacity grows by this much at least, so that a long limit costs no memory until it is used. */
const growth = 256

/**
 * Continues all prompts beside each other and yields the new tokens of each step, one for each row that still runs.
 * Prompts may differ in length; nothing is padded. Rows that end leave the batch.
 * @throws PlanError `generate.value`
 */
export function* generateSteps(decoder: Decoder, prompts: readonly (readonly number[])[], options: TokenOptions): Generator<NewToken[], void, undefined> {
  const { maxNewTokens, minNewTokens = 0 } = options
  const { architecture, dtype, device } = decoder.parameters
  checkPrompts(prompts, options, architecture.vocabSize)
  if (prompts.length === 0 || maxNewTokens === 0) return
  const stops = options.stopIds ?? architecture.eosIds
  const sampler = new Sampler(options, prompts.length)
  const longest = Math.max(...prompts.map((p) => p.length))
  const cache = new KeyValueCache(architecture, prompts.length, longest + Math.min(maxNewTokens, growth), dtype, device)
  try {
    let rows = prompts.map((_, row) => row)
    let lengths = prompts.map(() => 0)
    let tokens: (readonly number[])[] = [...prompts]
    for (let step = 1; step <= maxNewTokens; step++) {
      const banned = step <= minNewTokens ? stops : []
      const ids = nextTokens(decoder, cache, tokens, lengths, sampler, rows, banned, options.adapter)
      lengths = lengths.map((length, i) => length + tokens[i].length)
      const found = rows.map((row, i): NewToken => ({ row, id: ids[i], end: stops.includes(ids[i]) ? 'stop' : step === maxNewTokens ? 'length' : null }))
      yield found
      const running = found.flatMap(({ end }, i) => (end === null ? [i] : []))
      if (running.length === 0) return
      if (running.length < rows.length) cache.select(running, Math.max(...running.map((i) => lengths[i])))
      rows = running.map((i) => rows[i])
      lengths = running.map((i) => lengths[i])
      tokens = running.map((i) => [ids[i]])
      cache.reserve(Math.max(...lengths) + 1, Math.max(...lengths), growth)
    }
  } finally {
    cache.free()
  }
}

/** As {@link generateSteps}, token by token, with a turn of the event loop between steps: for callers that stream. */
export async function* generateTokens(decoder: Decoder, prompts: readonly (readonly number[])[], options: TokenOptions): AsyncGenerator<NewToken, void, undefined> {
  for (const step of generateSteps(decoder, prompts, options)) {
    yield* step
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Continues all prompts and returns the new ids of each, a stop token included. */
export function generate(decoder: Decoder, prompts: readonly (readonly number[])[], options: TokenOptions, onToken?: (token: NewToken) => void): number[][] {
  const results: number[][] = prompts.map(() => [])
  for (const step of generateSteps(decoder, prompts, options)) {
    for (const token of step) {
      results[token.row].push(token.id)
      onToken?.(token)
    }
  }
  return results
}

function nextTokens(decoder: Decoder, cache: KeyValueCache, tokens: readonly (readonly number[])[], lengths: readonly number[], sampler: Sampler, rows: readonly number[], banned: readonly number[], adapter: boolean | undefined): number[] {
  const { device } = decoder.parameters
  return noGrad(() => scope(() => {
    const { batch, last } = continuation(cache, tokens, lengths, device)
    const context = decoder.context(batch, { mode: 'infer', adapter })
    const logits = decoder.headLogits(decoder.hidden(batch, context), context, onDevice(tensor(last), device))
    if (banned.length > 0) ops.index_fill_(logits, 1, onDevice(tensor(banned.map(BigInt)), device), -Infinity)
    return sampler.next(logits, rows)
  }))
}

/** The batch of new tokens of each cache row, and where each row's last one stands in it. */
function continuation(cache: KeyValueCache, tokens: readonly (readonly number[])[], starts: readonly number[], device: string): { batch: Batch; last: BigInt64Array } {
  const offsets = [0]
  for (const list of tokens) offsets.push(offsets[offsets.length - 1] + list.length)
  const total = offsets[offsets.length - 1]
  const ids = new BigInt64Array(total), positions = new BigInt64Array(total), rows = new BigInt64Array(total)
  tokens.forEach((list, i) => list.forEach((id, t) => {
    ids[offsets[i] + t] = BigInt(id)
    positions[offsets[i] + t] = BigInt(starts[i] + t)
    rows[offsets[i] + t] = BigInt(i)
  }))
  const place = (data: BigInt64Array): ReturnType<typeof tensor> => onDevice(tensor(data), device)
  const columns = place(positions)
  const first = starts.every((start) => start === 0)
  return {
    batch: {
      ids: place(ids), positions: columns, tokens: total, lengths: tokens.map((list, i) => starts[i] + list.length),
      attention: { kind: 'cached', cache, offsets, slots: { rows: place(rows), columns }, mask: first ? null : decodeMask(starts, device) },
    },
    last: BigInt64Array.from(offsets.slice(1), (end) => BigInt(end - 1)),
  }
}

function checkPrompts(prompts: readonly (readonly number[])[], { maxNewTokens, minNewTokens = 0 }: TokenOptions, vocab: number): void {
  const refuse = (field: string, value: unknown, expected: string): never => { throw new PlanError('generate.value', `expected ${expected} for ${field}, got ${String(value)}`, { field, value }) }
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 0) refuse('maxNewTokens', maxNewTokens, 'a whole number from 0 up')
  if (!Number.isInteger(minNewTokens) || minNewTokens < 0 || minNewTokens > maxNewTokens) refuse('minNewTokens', minNewTokens, `a whole number from 0 to maxNewTokens (${maxNewTokens})`)
  prompts.forEach((prompt, row) => {
    if (prompt.length === 0) refuse(`prompt ${row}`, 'none', 'at least one token')
    const wrong = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= vocab)
    if (wrong !== undefined) refuse(`prompt ${row}`, wrong, `token ids from 0 to ${vocab - 1}`)
  })
}
