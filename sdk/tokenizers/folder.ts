import * as fs from 'node:fs'
import * as path from 'node:path'
import { ModelError } from '../errors'
import { isPaddleTemplate, templateFromPaddle } from './paddle-template'
import { addedToken, type AddedToken, type TokenizerJson, type TokenizerSpec } from './spec'

/** Reads the tokenizer files of a Hugging Face folder, or null when it has no tokenizer.json. */
export function specFromFolder(folder: string): TokenizerSpec | null {
  const json = readJson(folder, 'tokenizer.json') as TokenizerJson | null
  if (json === null) return null
  if (typeof json.model !== 'object' || json.model === null) {
    throw new ModelError('tokenizer.file', `${path.join(folder, 'tokenizer.json')}: has no "model"; download the model's tokenizer again`, { folder })
  }
  const config = readJson(folder, 'tokenizer_config.json') ?? {}
  const texts = { ...specialTexts(readJson(folder, 'special_tokens_map.json') ?? {}), ...specialTexts(config) }
  return {
    source: folder,
    json: {
      ...json,
      // The files' own cutting and padding would change ids behind the plan's back.
      truncation: null, padding: null,
      added_tokens: withConfigTokens(json.added_tokens ?? [], config),
      post_processor: untrimmed(json.post_processor ?? null)
    },
    specialTexts: texts,
    chatTemplate: chatTemplate(folder, config)
  }
}

/** Content of a JSON file of a folder; null when there is none. @throws ModelError `tokenizer.file` */
export function readJson(folder: string, name: string): Record<string, unknown> | null {
  const file = path.join(folder, name)
  let text: string
  try {
    text = fs.readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new ModelError('tokenizer.file', `${file}: cannot be read (${(cause as NodeJS.ErrnoException).code}); check that the file may be read`, { file }, { cause })
  }
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch (cause) {
    throw new ModelError('tokenizer.file', `${file}: is not JSON (${(cause as Error).message}); download the model's tokenizer again`, { file }, { cause })
  }
}

/** `bos_token` and its like are strings or objects with `content`. */
export function specialTexts(config: Record<string, unknown>): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const [name, value] of Object.entries(config)) {
    if (!name.endsWith('_token')) continue
    const text = typeof value === 'object' && value !== null ? (value as { content?: unknown }).content : value
    if (typeof text === 'string') texts[name] = text
  }
  return texts
}

/** Tokens that only tokenizer_config.json lists, as `added_tokens_decoder`, belong to the vocabulary too. */
function withConfigTokens(tokens: readonly AddedToken[], config: Record<string, unknown>): AddedToken[] {
  const known = new Set(tokens.map(t => t.id))
  const more = Object.entries((config.added_tokens_decoder ?? {}) as Record<string, Omit<AddedToken, 'id'>>)
    .map(([id, token]) => ({ ...token, id: Number(id) }))
    .filter(token => !known.has(token.id))
  return [...tokens, ...more].sort((a, b) => a.id - b.id)
}

/**
 * Tokens with ids of their own: those of added_tokens.json, then tokenizer_config.json's `added_tokens_decoder`, which knows more of each.
 * @param special texts of tokens that are special though only added_tokens.json has them
 */
export function addedBeside(folder: string, config: Readonly<Record<string, unknown>>, special: readonly string[] = []): AddedToken[] {
  const listed = Object.entries((readJson(folder, 'added_tokens.json') ?? {}) as Record<string, number>)
  const decoder = Object.entries((config.added_tokens_decoder ?? {}) as Record<string, Partial<AddedToken> & { content: string }>)
  return [
    ...listed.map(([content, id]) => addedToken(id, content, special.includes(content))),
    ...decoder.map(([id, token]) => ({ ...addedToken(Number(id), token.content, false), ...token, id: Number(id) }))
  ]
}

/** Offsets that leave out the spaces of a token would hide tokens that straddle a mark; ids are the same either way. */
function untrimmed(processor: unknown): unknown {
  if (typeof processor !== 'object' || processor === null) return processor
  const copy = { ...processor } as Record<string, unknown>
  if ('trim_offsets' in copy) copy.trim_offsets = false
  if (Array.isArray(copy.processors)) copy.processors = copy.processors.map(untrimmed)
  return copy
}

/** chat_template.jinja, else chat_template.json, else tokenizer_config.json's; of named ones, the default. */
export function chatTemplate(folder: string, config: Record<string, unknown>): string | null {
  const file = path.join(folder, 'chat_template.jinja')
  if (fs.existsSync(file)) return fs.readFileSync(file, 'utf8')
  const separate = readJson(folder, 'chat_template.json')
  if (separate !== null && isPaddleTemplate(separate)) return templateFromPaddle(separate, path.join(folder, 'chat_template.json'))
  if (typeof separate?.chat_template === 'string') return separate.chat_template
  const inConfig = config.chat_template
  if (typeof inConfig === 'string') return inConfig
  if (!Array.isArray(inConfig)) return null
  const named = inConfig as { name: string; template: string }[]
  return named.find(t => t.name === 'default')?.template ?? null
}
