import { below, seededRandom } from './random'

/**
 * Items in the order of a shuffle buffer: each next one is drawn among `size` that were read ahead, so that memory holds no
 * more than those. A pure function of the items, the size, the seed and the epoch.
 */
export function* shuffledStream<T>(items: Iterable<T>, size: number, seed: number, epoch: number): Generator<T> {
  const random = seededRandom(seed, epoch), buffer: T[] = []
  for (const item of items) {
    if (buffer.length < size) {
      buffer.push(item)
      continue
    }
    const i = below(random, buffer.length), drawn = buffer[i]
    buffer[i] = item
    yield drawn
  }
  while (buffer.length > 0) {
    const i = below(random, buffer.length), drawn = buffer[i]
    buffer[i] = buffer[buffer.length - 1]
    buffer.pop()
    yield drawn
  }
}
