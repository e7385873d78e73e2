import { noGrad, ops, scope, tensor } from 'fettle-native'
import { PlanError } from '../errors'
import type { Architecture, PromptRule } from '../models/architecture'
import { promptPlaces, type Batch } from '../models/batch'
import { decodeMask, KeyValueCache } from '../models/cache'
import type { Decoder } from '../models/decoder'
import { onDevice } from '../models/device'
import { placementOf, type Placement } from '../models/positions'
import { baseFactor } from '../models/rope'
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
  const { architecture, local, dtype, device } = decoder.parameters
  checkPrompts(prompts, options, architecture.vocabSize)
  if (prompts.length === 0 || maxNewTokens === 0) return
  const stops = options.stopIds ?? architecture.eosIds, prefix = (options.adapter ?? true) ? decoder.parameters.adapter?.prefix ?? null : null
  const front = architecture.countsPrefix ? prefix?.tokens ?? 0 : 0, room = roomOf(architecture) - front
  const sampler = new Sampler(options, prompts.length), placements = prompts.map((prompt) => placementOf(architecture.prompt, prompt))
  const longest = Math.max(...prompts.map((p) => p.length))
  // Refused here, before other ranks begin: they would fail with it.
  decoder.refuseLength(longest)
  const cache = new KeyValueCache({ ...architecture, kvHeads: local.kvHeads }, prompts.length, longest + Math.min(maxNewTokens, growth), dtype, device, prefix)
  decoder.together?.begin(prompts, options)
  // The other ranks wait for a word: whether there is one more token.
  let waited = false
  try {
    let rows = prompts.map((_, row) => row)
    let past: number[][] = prompts.map((prompt) => [...prompt])
    let lengths = prompts.map(() => 0)
    for (let step = 1; step <= maxNewTokens; step++) {
      const banned = step <= minNewTokens ? stops : []
      const next = rows.map((row, i): NextTokens => ({ tokens: past[i].slice(lengths[i]), start: lengths[i], placement: placements[row] }))
      const picked = nextTokens(decoder, cache, next, sampler, rows, banned, options.adapter), ids = decoder.together?.agree(picked) ?? picked
      lengths = past.map((list) => list.length)
      const found = rows.map((row, i): NewToken => ({ row, id: ids[i], end: stops.includes(ids[i]) ? 'stop' : step === maxNewTokens || lengths[i] >= room ? 'length' : null }))
      const running = found.flatMap(({ end }, i) => (end === null ? [i] : []))
      waited = running.length > 0
      yield found
      if (!waited) return
      waited = false
      if (decoder.together?.go(true) === false) return
      if (running.length < rows.length) cache.select(running, Math.max(...running.map((i) => lengths[i])))
      rows = running.map((i) => rows[i])
      past = running.map((i) => { past[i].push(ids[i]); return past[i] })
      lengths = running.map((i) => lengths[i])
      cache.reserve(Math.max(...lengths) + 1, Math.max(...lengths), growth)
      // Keys that were turned by another base are of no use: such a step reads all rows anew.
      if (lengths.some((length) => turnsAnew(architecture, front + length))) lengths = lengths.map(() => 0)
    }
  } finally {
    if (waited) decoder.together?.go(false)
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

/** Tokens of a row that its cache lacks, and where they stand. */
interface NextTokens { readonly tokens: readonly number[]; readonly start: number; readonly placement: Placement }

/** Tokens that a row may have, where positions are learned. */
function roomOf({ positions, maxPositions }: Architecture): number { return positions.kind === 'learned' ? maxPositions : Infinity }

/** Does one more token than `length` change the rotation of all? */
function turnsAnew({ positions }: Architecture, length: number): boolean {
  if (positions.kind !== 'rotary' || positions.scaling.kind !== 'steps') return false
  const { trainedLength } = positions.scaling
  return baseFactor(trainedLength, length + 1) !== baseFactor(trainedLength, length)
}

function nextTokens(decoder: Decoder, cache: KeyValueCache, next: readonly NextTokens[], sampler: Sampler, rows: readonly number[], banned: readonly number[], adapter: boolean | undefined): number[] {
  const { device, architecture } = decoder.parameters
  return noGrad(() => scope(() => {
    const { batch, last } = continuation(cache, next, architecture.prompt, device)
    const context = decoder.context(batch, { mode: 'infer', adapter })
    const logits = decoder.headLogits(decoder.hidden(batch, context), context, onDevice(tensor(last), device))
    if (banned.length > 0) ops.index_fill_(logits, 1, onDevice(tensor(banned.map(BigInt)), device), -Infinity)
    return sampler.next(logits, rows)
  }))
}

/** The batch of new tokens of each cache row, and where each row's last one stands in it. */
function continuation(cache: KeyValueCache, next: readonly NextTokens[], rule: PromptRule | null, device: string): { batch: Batch; last: BigInt64Array } {
  const offsets = [0]
  for (const { tokens } of next) offsets.push(offsets[offsets.length - 1] + tokens.length)
  const total = offsets[offsets.length - 1]
  const [ids, positions, blocks, rows, columns] = Array.from({ length: 5 }, () => new BigInt64Array(total))
  next.forEach(({ tokens, start, placement }, i) => tokens.forEach((id, t) => {
    const at = offsets[i] + t
    ids[at] = BigInt(id)
    positions[at] = BigInt(placement.position(start + t))
    blocks[at] = BigInt(placement.block(start + t))
    rows[at] = BigInt(i)
    columns[at] = BigInt(cache.front + start + t)
  }))
  const place = (data: BigInt64Array): ReturnType<typeof tensor> => onDevice(tensor(data), device)
  const starts = next.map(({ start }) => start), first = starts.every((start) => start === 0)
  return {
    batch: {
      ids: place(ids), positions: place(positions), ...promptPlaces(rule, next.map(({ placement }) => placement), () => place(blocks)),
      tokens: total, lengths: next.map(({ tokens, start }) => start + tokens.length),
      attention: { kind: 'cached', cache, offsets, lengths: next.map(({ tokens, start }) => cache.front + start + tokens.length), slots: { rows: place(rows), columns: place(columns) }, mask: first ? null : decodeMask(starts.map((start) => cache.front + start), device) },
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
