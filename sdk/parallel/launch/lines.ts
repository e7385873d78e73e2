import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

/** Gives each line of a stream to `write`, with its line end; the last one too when it has none. */
export function eachLine(stream: Readable, write: (line: string) => void): void {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  stream.on('data', (data: Buffer) => {
    const lines = (rest + decoder.write(data)).split('\n')
    rest = lines.pop()!
    for (const line of lines) write(`${line}\n`)
  })
  stream.on('end', () => { if (rest !== '') write(`${rest}\n`) })
}
