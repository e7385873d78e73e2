import { ArrowWriter } from './arrow-writer'
import { readBlocks, type Block } from './blocks'
import { encodeBlocks, encoderThreads } from './encode-pool'
import type { SplitJob } from './prepare-split'
import { noRows } from './rows'
import { SplitTally } from './split-tally'

/**
 * Tokenises the files of a split, on several threads, into an Arrow file.
 * @throws DataError of the first bad row in the order of the files
 */
export async function writeRows(file: string, { files, tokenizer, modelPath, data, threads, cores, onProgress = () => undefined }: SplitJob, totalBytes: number): Promise<SplitTally> {
  const writer = new ArrowWriter(file), tally = new SplitTally(tokenizer)
  /** Files of the blocks that are in work. */
  const sources: string[] = []
  let reading: string | undefined
  function* blocks(): Generator<Block> {
    for (const name of files) {
      reading = name
      for (const block of readBlocks(name)) {
        sources.push(name)
        yield block
      }
    }
  }
  let current = 0
  /** All blocks of the files before this one were counted. */
  const settle = (name: string | undefined): void => {
    for (; current < files.length && files[current] !== name; current++) if (tally.rowsOfFile(files[current]) === 0) throw noRows(files[current])
  }
  try {
    for await (const block of encodeBlocks(blocks(), { data, modelPath, tokenizer }, threads ?? encoderThreads(totalBytes, cores))) {
      const name = sources.shift()!
      settle(name)
      tally.add(block, name)
      await writer.add(block)
      onProgress({ state: 'tokenizing', bytes: tally.bytes, totalBytes, rows: tally.rows })
    }
    settle(undefined)
    await writer.finish()
    return tally
  } catch (error) {
    await writer.abort()
    // A file without rows comes before a bad row of the next one.
    settle(sources[0] ?? reading)
    throw error
  }
}
