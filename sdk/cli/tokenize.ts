import * as fs from 'node:fs'
import { DataError, PlanError } from '../errors'
import type { Command } from './command'
import { exitCodes } from './exit'
import { takePositionals, type Parsed } from './flags'
import { lazy } from './lazy'
import { localModel } from './model'
import type { Terminal } from './terminal'

export const tokenizeCommand: Command = {
  name: 'tokenize',
  summary: 'print the token ids of texts',
  usage: ['tokenize MODEL --json strings.json [--special]'],
  flags: [
    { name: 'json', type: 'text', value: 'FILE', help: 'a JSON array of texts; - reads it from stdin' },
    { name: 'special', type: 'flag', help: 'add the special tokens that the model puts around a text' },
  ],
  run: tokenize,
}

async function tokenize(parsed: Parsed, terminal: Terminal): Promise<number> {
  const [model] = takePositionals(parsed, ['MODEL'], 'tokenize')
  const texts = readTexts(parsed.values.json as string | undefined)
  const { loadTokenizer } = lazy.tokenizers()
  // A folder needs no weights to tokenise.
  const tokenizer = loadTokenizer(fs.existsSync(model) ? model : await localModel(model, terminal))
  const ids = await tokenizer.encodeBatch(texts, { special: parsed.values.special === true })
  terminal.out(`${JSON.stringify(ids.map((row) => Array.from(row)))}\n`)
  return exitCodes.ok
}

function readTexts(file: string | undefined): string[] {
  const refuse = (got: string, cause?: unknown) => new DataError('data.strings', `expected a JSON array of texts for --json, got ${got}; try --json strings.json with ["one text", "another"]`, { file }, { cause })
  if (file === undefined) throw new PlanError('cli.missing', 'expected --json for fettle tokenize, got nothing; try --json strings.json with ["one text", "another"]', { flag: 'json' })
  let value: unknown
  try { value = JSON.parse(fs.readFileSync(file === '-' ? 0 : file, 'utf8').replace(/^\uFEFF/, '')) } catch (cause) { throw refuse(`${file} (${(cause as Error).message})`, cause) }
  if (!Array.isArray(value)) throw refuse(`${file} with ${value === null ? 'null' : `a ${typeof value}`}`)
  const wrong = value.findIndex((item) => typeof item !== 'string')
  if (wrong >= 0) throw refuse(`${file} with ${JSON.stringify(value[wrong])} at index ${wrong}`)
  return value as string[]
}
