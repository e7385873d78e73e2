// Results by machine: one small JSON file each, to which every case that ends is added, so that a set may be run in parts.
import { createRequire } from 'node:module'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

/** Name of a machine's file: processor, cores, and the widest instructions that count. */
export function slugOf({ cpu, cores, features }) {
  const widest = ['amx_bf16', 'avx512_bf16', 'avx512f', 'avx2'].find((feature) => features.includes(feature)) ?? 'base'
  return `${cpu} ${cores} cores ${widest}`.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')
}

/** Five digits say all that was measured; longer ones make files grow and diffs unreadable. */
export function rounded(value) {
  if (typeof value === 'number') return Number.isFinite(value) ? Number(value.toPrecision(5)) : null
  if (Array.isArray(value)) return value.map(rounded)
  return value !== null && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, rounded(part)])) : value
}

export function readResult(file) { return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null }

/** Adds to a machine's file: `about` replaces what it says of the machine, `cases` those of the same key. Of peers that had no part now the versions stay. */
export function addResult(file, about, cases) {
  const before = readResult(file), result = { ...before, ...about, versions: { ...before?.versions, ...about.versions }, cases: { ...before?.cases, ...cases } }
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(`${file}.tmp`, `${JSON.stringify(rounded(result), null, 1)}\n`)
  renameSync(`${file}.tmp`, file)
  return result
}

/** All results of a folder, by the name of their file. */
export function readResults(folder) {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')).sort() : []
  return new Map(names.map((name) => [name.replace(/\.json$/, ''), readResult(join(folder, name))]))
}

/** Form of the kernels that this machine runs. */
export function kernelsInUse() { return require('fettle/dist/models/blocks/fused').kernels() }
