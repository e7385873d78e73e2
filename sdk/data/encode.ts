import * as fs from 'node:fs'
import { DataError } from '../errors'
import type { DataPlan } from '../plan/plan'
import { compileChatTemplate, type Tokenizer } from '../tokenizers'
import { ChatEncoder } from './chat'
import { IGNORED } from './dataset'
import { PlainEncoder } from './plain'

/** What a row becomes: ids and labels of equal length, labels −100 where nothing is trained and not shifted. */
export interface EncodedRow {
  readonly ids: Int32Array
  readonly labels: Int32Array
  /** A part of the source, the target or earlier rounds was left out. */
  readonly truncated: boolean
}

/** The rounds of one row. */
export interface Rounds { readonly src: readonly string[]; readonly tgt: readonly string[] }

/** The part of a data plan that decides ids and labels. */
export type TemplateSettings = Pick<DataPlan, 'srcLength' | 'maxLength' | 'template' | 'system'>

/** A prompt in its room. */
export interface FittedPrompt {
  readonly ids: number[]
  /** First rounds that were left out. */
  readonly dropped: number
  /** The last user message lost its left end. */
  readonly cut: boolean
}

/** Turns rows into ids and labels by one template. */
export interface RowEncoder {
  readonly kind: 'chat' | 'plain'
  encode(rows: readonly Rounds[]): Promise<EncodedRow[]>
  /**
   * Ids of a prompt, cut as training cuts it, that ends where the answer begins.
   * @param src user messages; `tgt` holds the answers before the last of them
   */
  prompt(rounds: Rounds): Promise<number[]>
  /** The same, with what had to go. */
  fitPrompt(rounds: Rounds): Promise<FittedPrompt>
  /** The same template under other limits or another system message. */
  under(changes: Partial<Omit<TemplateSettings, 'template'>>): RowEncoder
  /** What is odd about the template, found while encoding. */
  notes(): readonly string[]
}

/**
 * The encoder that a plan asks for: `auto` takes the model's chat template when it has one, `none` the plain form, and
 * anything else is the path of a Jinja file.
 * @throws DataError `data.template` when the file cannot be read, ModelError `tokenizer.chat-template` when it is broken
 */
export function rowEncoder(tokenizer: Tokenizer, settings: TemplateSettings): RowEncoder {
  if (settings.template === 'none' || (settings.template === 'auto' && tokenizer.chatTemplate === null)) return new PlainEncoder(tokenizer, settings)
  if (settings.template === 'auto') return new ChatEncoder(tokenizer, { name: '', render: (messages, options) => tokenizer.renderChat(messages, options) }, settings)
  return new ChatEncoder(tokenizer, compileChatTemplate(readTemplate(settings.template), settings.template, tokenizer.specialTexts), settings)
}

/** The text of the template that decides the ids, for the cache key. */
export function templateText(tokenizer: Tokenizer, { template }: TemplateSettings): string | null {
  if (template === 'none') return null
  return template === 'auto' ? tokenizer.chatTemplate : readTemplate(template)
}

function readTemplate(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (cause) {
    throw new DataError('data.template', `template ${file}: cannot be read (${(cause as NodeJS.ErrnoException).code}); give "auto", "none" or the path of a Jinja file`, { template: file }, { cause })
  }
}

/**
 * The token that this template's answers end with, which is what a tuned model says when it is done. It may differ from
 * the model's own end-of-sequence ids, so generation stops at both. Null when answers end with no special token.
 */
export async function answerEnd(tokenizer: Tokenizer, encoder: RowEncoder): Promise<number | null> {
  const [{ labels }] = await encoder.encode([{ src: ['a'], tgt: ['a'] }])
  const last = labels.filter(label => label !== IGNORED).at(-1)
  return last !== undefined && (last === tokenizer.eosId || tokenizer.specialIds.has(last)) ? last : null
}

/**
 * Ids at which an answer to a chat ends: the model's own end-of-sequence ids, and the token that the template puts after
 * answers, which may be another one.
 */
export async function chatStopIds(eosIds: readonly number[], tokenizer: Tokenizer, encoder: RowEncoder): Promise<number[]> {
  const end = await answerEnd(tokenizer, encoder)
  return [...new Set(end === null ? eosIds : [...eosIds, end])]
}
