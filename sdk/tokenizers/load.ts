import * as fs from 'node:fs'
import * as path from 'node:path'
import { ggufTokenizer } from '../models/weights/gguf-config'
import { readGguf } from '../models/weights/gguf-metadata'
import type { GgufTokenizerMaterial } from '../models/weights/types'
import { specFromFolder } from './folder'
import { specFromGguf } from './gguf'
import { MissingTokenizer } from './missing'
import type { PieceTokenizerSpec } from './sentencepiece/spec'
import type { TokenizerSpec } from './spec'
import type { Tokenizer } from './types'

/** Reads the tokenizer of a folder that has the file. */
type Reader = (folder: string, file: string) => Tokenizer

/** Which file decides, the first that a folder has. Libraries load on use, so that processes that never tokenise stay small. */
const readers: Readonly<Record<string, Reader>> = {
  'tokenizer.json': (folder) => libraryTokenizer(specFromFolder(folder)!),
  'ice_text.model': (folder, file) => pieceTokenizer(chatGlm().specFromIceText(folder, file)),
  'tokenizer.model': (folder, file) => pieceTokenizer(chatGlm().isChatGlm2(folder) ? chatGlm().specFromGlm2(folder, file) : pieces().specFromPieces(folder, file)),
  // The name that PaddleNLP gives to LLaMA's, and the one of T5's.
  'sentencepiece.bpe.model': (folder, file) => pieceTokenizer(pieces().specFromPieces(folder, file)),
  'spiece.model': (folder, file) => pieceTokenizer(pieces().specFromPieces(folder, file)),
  'qwen.tiktoken': (folder, file) => libraryTokenizer((require('./tiktoken') as typeof import('./tiktoken')).specFromTiktoken(folder, file)),
  'vocab.json': (folder) => libraryTokenizer((require('./gpt2') as typeof import('./gpt2')).specFromMerges(folder))
}

const chatGlm = (): typeof import('./chatglm') => require('./chatglm')
const pieces = (): typeof import('./sentencepiece/folder') => require('./sentencepiece/folder')

function libraryTokenizer(spec: TokenizerSpec): Tokenizer {
  const { LibraryTokenizer } = require('./library-tokenizer') as typeof import('./library-tokenizer')
  return new LibraryTokenizer(spec)
}

function pieceTokenizer(spec: PieceTokenizerSpec): Tokenizer {
  const { SentencePieceTokenizer } = require('./sentencepiece/tokenizer') as typeof import('./sentencepiece/tokenizer')
  return new SentencePieceTokenizer(spec)
}

/**
 * Loads the tokenizer of a model: a Hugging Face folder with tokenizer.json, a SentencePiece model, qwen.tiktoken, or vocab.json
 * and merges.txt; or a .gguf or .model file.
 * A model without one gives a tokenizer that throws `tokenizer.missing` on first use, so that work on ids needs none.
 * @throws ModelError `tokenizer.file`, `tokenizer.sentencepiece`, `tokenizer.gguf` when there is one that is broken or of an
 * unknown kind (a vocabulary that the library refuses shows on first use)
 */
export function loadTokenizer(modelPath: string): Tokenizer {
  return existingTokenizer(modelPath) ?? missing(modelPath)
}

/** Builds a tokenizer from GGUF material that was read already. */
export function tokenizerFromGguf(material: GgufTokenizerMaterial): Tokenizer {
  return libraryTokenizer(specFromGguf(material))
}

function existingTokenizer(modelPath: string): Tokenizer | null {
  if (!fs.existsSync(modelPath)) return null
  if (fs.statSync(modelPath).isDirectory()) {
    for (const [file, read] of Object.entries(readers)) if (fs.existsSync(path.join(modelPath, file))) return read(modelPath, file)
    const gguf = onlyGguf(modelPath)
    return gguf === null ? null : existingTokenizer(gguf)
  }
  if (modelPath.endsWith('.model')) return readers['tokenizer.model'](path.dirname(modelPath), path.basename(modelPath))
  if (!modelPath.endsWith('.gguf')) return null
  const file = readGguf(modelPath)
  return file.metadata.has('tokenizer.ggml.model') ? libraryTokenizer(specFromGguf(ggufTokenizer(file))) : null
}

function onlyGguf(folder: string): string | null {
  const files = fs.readdirSync(folder).filter(name => name.endsWith('.gguf'))
  return files.length === 1 ? path.join(folder, files[0]) : null
}

function missing(modelPath: string): MissingTokenizer {
  if (!fs.existsSync(modelPath)) return new MissingTokenizer(modelPath, 'does not exist', 'give the folder, or the .gguf or .model file, of a model')
  return new MissingTokenizer(modelPath, 'has no tokenizer', `add one of ${Object.keys(readers).join(', ')}, or work with ids (--ids)`)
}
