import { createReadStream, createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { extract, type Headers } from 'tar-stream'
import { DataError } from '../../errors'
import type { BuiltinData } from './catalog'
import { rowLines } from './row-lines'

/** Most files and folders of an archive. */
const mostEntries = 100

/**
 * Unpacks the splits of an archive into a folder, each row checked and as `{"src", "tgt"}`. The archive is a stranger's:
 * links, devices and paths that leave the folder are refused, and so is what unpacks to more than the set may. Nothing but
 * the splits is written, under names of our own.
 * @throws DataError `data.archive`; `data.line` for a bad row
 */
export async function unpack(archive: string, folder: string, set: BuiltinData): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const rows: Partial<Record<string, number>> = {}, reader = extract()
  const broken = (what: string): DataError => new DataError('data.archive', `${set.name}: ${what}; delete ${archive} and try again, or set ${set.variable} to another mirror`, { archive })
  let entries = 0
  const reading = pipeline(createReadStream(archive), createGunzip(), upTo(set.mostBytes, () => broken(`unpacks to more than ${set.mostBytes} bytes`)), reader)
  // Both halves fail together; the one below is met first.
  reading.catch(() => undefined)
  try {
    for await (const entry of reader) {
      if (++entries > mostEntries) throw broken(`has more than ${mostEntries} entries`)
      const split = splitOf(entry.header, set, broken)
      if (split === undefined) {
        for await (const _ of entry) { /* left out */ }
        continue
      }
      if (split in rows) throw broken(`has two files ${split}.json`)
      const count = { rows: 0 }
      await pipeline(Readable.from(rowLines(entry, `${set.archive}/${split}.json`, count)), createWriteStream(join(folder, `${split}.json`), { flush: true }))
      rows[split] = count.rows
    }
    await reading
  } catch (error) {
    if (error instanceof DataError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    throw /^(ENOSPC|EDQUOT|EACCES|EROFS|EIO)$/.test(code ?? '')
      ? new DataError('data.disk', `${folder}: cannot be written (${code}); free some space, or set FETTLE_HOME to a folder with room`, { folder, errno: code }, { cause: error })
      : broken(`the archive is broken (${message})`)
  }
  for (const [split, expected] of Object.entries(set.rows)) {
    const seen = rows[split]
    if (seen === undefined) throw broken(`has no ${split}.json`)
    if (Math.abs(seen - expected) > expected / 10) throw broken(`${split}.json has ${seen} rows, expected about ${expected}`)
  }
}

/** Passes on what comes, until it is too much: a small archive may unpack to any size. */
function upTo(most: number, tooMuch: () => DataError): (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array> {
  return async function* (source) {
    let seen = 0
    for await (const chunk of source) {
      seen += chunk.length
      if (seen > most) throw tooMuch()
      yield chunk
    }
  }
}

/** The split that an entry is; undefined for what is left out. */
function splitOf({ name, type }: Headers, set: BuiltinData, broken: (what: string) => DataError): string | undefined {
  if (/^[/\\]|^[a-zA-Z]:|\\|\0/.test(name) || name.split('/').includes('..')) throw broken(`has an entry outside its folder (${JSON.stringify(name)})`)
  if (type === 'directory') return undefined
  if (type !== 'file' && type !== 'contiguous-file') throw broken(`has an entry that is no plain file (${JSON.stringify(name)}, a ${type})`)
  const split = /(?:^|\/)(\w+)\.json$/.exec(name)?.[1]
  return split !== undefined && split in set.rows ? split : undefined
}
