import * as fs from 'node:fs'
import * as path from 'node:path'
import { DataError, FettleError } from '../errors'
import type { DataPlan } from '../plan/plan'
import { compileChatTemplate, textUse, type ChatTemplate, type Tokenizer } from '../tokenizers'
import { isPaddleTemplate, templateFromPaddle } from '../tokenizers/paddle-template'
import { ChatEncoder } from './chat'
import { IGNORED } from './dataset'
import { OneAnswerEncoder, opensAnswers } from './one-answer'
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
  /** The sequences that a row is trained as: itself, or one a round where a sequence has one answer. */
  split(row: Rounds): readonly Rounds[]
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
 * anything else is the path of a Jinja file, or of PaddleNLP's chat_template.json or its folder. Models that see their prompt
 * whole get one answer a sequence.
 * @throws DataError `data.template` when the file cannot be read, ModelError `tokenizer.chat-template` when it is broken
 */
export function rowEncoder(tokenizer: Tokenizer, settings: TemplateSettings): RowEncoder {
  const template = chatTemplateOf(tokenizer, settings)
  if (opensAnswers(tokenizer)) return new OneAnswerEncoder(tokenizer, template, settings)
  return template === null ? new PlainEncoder(tokenizer, settings) : new ChatEncoder(tokenizer, template, settings)
}

function chatTemplateOf(tokenizer: Tokenizer, { template }: TemplateSettings): ChatTemplate | null {
  if (template === 'none' || (template === 'auto' && tokenizer.chatTemplate === null)) return null
  if (template === 'auto') return { name: '', texts: textUse(tokenizer.chatTemplate!), render: (messages, options) => tokenizer.renderChat(messages, options) }
  return compileChatTemplate(readTemplate(template), template, tokenizer.specialTexts)
}

/** The text of the template that decides the ids, for the cache key. */
export function templateText(tokenizer: Tokenizer, { template }: TemplateSettings): string | null {
  if (template === 'none') return null
  return template === 'auto' ? tokenizer.chatTemplate : readTemplate(template)
}

function readTemplate(given: string): string {
  let file = given
  try {
    if (fs.statSync(given).isDirectory()) file = path.join(given, 'chat_template.json')
    const text = fs.readFileSync(file, 'utf8')
    return file.endsWith('.json') ? templateOfJson(file, text) : text
  } catch (cause) {
    if (cause instanceof FettleError) throw cause
    throw new DataError('data.template', `template ${file}: cannot be read (${(cause as NodeJS.ErrnoException).code}); give "auto", "none" or the path of a Jinja file or of a chat_template.json`, { template: file }, { cause })
  }
}

/** PaddleNLP's parts as one template, or the template that Hugging Face's file holds. */
function templateOfJson(file: string, text: string): string {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new DataError('data.template', `template ${file}: is not JSON (${(cause as Error).message}); give PaddleNLP's chat_template.json or a Jinja file`, { template: file }, { cause })
  }
  const record = (typeof json === 'object' && json !== null ? json : {}) as Record<string, unknown>
  if (isPaddleTemplate(record)) return templateFromPaddle(record, file)
  if (typeof record.chat_template === 'string') return record.chat_template
  throw new DataError('data.template', `template ${file}: has neither "conversation" nor "chat_template"; give PaddleNLP's chat_template.json or a Jinja file`, { template: file })
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
