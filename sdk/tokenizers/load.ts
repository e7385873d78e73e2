import * as fs from 'node:fs'
import * as path from 'node:path'
import { ggufTokenizer } from '../models/weights/gguf-config'
import { readGguf } from '../models/weights/gguf-metadata'
import type { GgufTokenizerMaterial } from '../models/weights/types'
import { specFromFolder } from './folder'
import { specFromGguf } from './gguf'
import { MissingTokenizer } from './missing'
import type { TokenizerSpec } from './spec'
import type { Tokenizer } from './types'

/** Tokenizer files that other kinds of model bring, and what they are. */
const otherKinds: Readonly<Record<string, string>> = {
  'tokenizer.model': 'a SentencePiece model', 'spiece.model': 'a SentencePiece model', 'ice_text.model': "ChatGLM's SentencePiece model",
  'qwen.tiktoken': "Qwen's tiktoken file", 'vocab.json': 'a vocab.json with merges.txt'
}

/**
 * Loads the tokenizer of a model: a Hugging Face folder with tokenizer.json, or a .gguf file.
 * A model without one gives a tokenizer that throws `tokenizer.missing` on first use, so that work on ids needs none.
 * @throws ModelError `tokenizer.file`, `tokenizer.gguf` when there is one that is broken or of an unknown kind (a
 * vocabulary that the library refuses shows on first use)
 */
export function loadTokenizer(modelPath: string): Tokenizer {
  const spec = tokenizerSpec(modelPath)
  if (spec === null) return missing(modelPath)
  // Loaded here, so that processes that never tokenise do not load the library.
  const { LibraryTokenizer } = require('./library-tokenizer') as typeof import('./library-tokenizer')
  return new LibraryTokenizer(spec)
}

/** Builds a tokenizer from GGUF material that was read already. */
export function tokenizerFromGguf(material: GgufTokenizerMaterial): Tokenizer {
  const { LibraryTokenizer } = require('./library-tokenizer') as typeof import('./library-tokenizer')
  return new LibraryTokenizer(specFromGguf(material))
}

function tokenizerSpec(modelPath: string): TokenizerSpec | null {
  if (!fs.existsSync(modelPath)) return null
  if (fs.statSync(modelPath).isDirectory()) {
    const spec = specFromFolder(modelPath)
    const gguf = spec === null ? onlyGguf(modelPath) : null
    return gguf === null ? spec : tokenizerSpec(gguf)
  }
  if (!modelPath.endsWith('.gguf')) return null
  const file = readGguf(modelPath)
  return file.metadata.has('tokenizer.ggml.model') ? specFromGguf(ggufTokenizer(file)) : null
}

function onlyGguf(folder: string): string | null {
  const files = fs.readdirSync(folder).filter(name => name.endsWith('.gguf'))
  return files.length === 1 ? path.join(folder, files[0]) : null
}

function missing(modelPath: string): MissingTokenizer {
  if (!fs.existsSync(modelPath)) return new MissingTokenizer(modelPath, 'does not exist', 'give the folder or .gguf file of a model')
  const files = fs.statSync(modelPath).isDirectory() ? fs.readdirSync(modelPath) : []
  const other = files.find(name => name in otherKinds)
  if (other === undefined) return new MissingTokenizer(modelPath, 'has no tokenizer', 'add its tokenizer.json, or work with ids (--ids)')
  return new MissingTokenizer(modelPath, `has a tokenizer that Fettle does not read yet: ${other}, ${otherKinds[other]}`, 'add the tokenizer.json of the same model, or work with ids (--ids)')
}
