import { StringDecoder } from 'node:string_decoder'
import { DataError } from '../../errors'

/**
 * The lines of a file of rows, each checked: `{"src", "tgt"}` as they are, `{"content", "summary"}` under those names.
 * @param count is raised by each row
 * @throws DataError `data.line` with the number of the line
 */
export async function* rowLines(source: AsyncIterable<Uint8Array>, file: string, count: { rows: number }): AsyncGenerator<string> {
  let number = 0
  for await (const line of lines(source)) {
    number++
    if (line.trim() === '') continue
    yield `${JSON.stringify(rowOf(line, `${file}:${number}`))}\n`
    count.rows++
  }
}

function rowOf(line: string, place: string): { src: string; tgt: string } {
  let value: unknown
  try { value = JSON.parse(line) } catch (cause) {
    throw new DataError('data.line', `${place}: is no JSON (${(cause as Error).message}); the archive is broken: try again, or use another mirror`, { place }, { cause })
  }
  const row = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  const src = row.src ?? row.content, tgt = row.tgt ?? row.summary
  if (typeof src === 'string' && typeof tgt === 'string') return { src, tgt }
  throw new DataError('data.line', `${place}: expected {"src", "tgt"} or {"content", "summary"}, got ${Object.keys(row).join(', ') || typeof value}; the archive is of another data set: use another mirror`, { place })
}

/** Lines of UTF-8 that come in pieces. */
async function* lines(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const chunk of source) {
    const parts = (rest + decoder.write(Buffer.from(chunk))).split('\n')
    rest = parts.pop()!
    yield* parts
  }
  rest += decoder.end()
  if (rest !== '') yield rest
}
