import assert from 'node:assert/strict'
import { test } from 'node:test'
import { streamDecoder } from 'fettle/dist/tokenizers/stream'
import { Random } from 'fettle/dist/models/random'

/** A special token, which has no bytes in the text. */
const special = 256

/** One token a byte, as byte-level vocabularies have them. */
const decode = (ids: readonly number[]): string => new TextDecoder().decode(Uint8Array.from(ids.filter((id) => id !== special)))

test('what is streamed of any bytes is text: never half of a character', () => {
  const random = new Random(7, 0)
  // Leading and following bytes of long characters are drawn often, because there the halves are.
  const draw = (): number => { const u = random.uniform(); return u < 0.2 ? 0xf0 : u < 0.4 ? special : u < 0.8 ? 0x80 + Math.floor(random.uniform() * 64) : Math.floor(random.uniform() * 256) }
  for (let round = 0; round < 2000; round++) {
    const stream = streamDecoder(decode)
    const pieces = Array.from({ length: 12 }, () => stream.push(draw()))
    const text = pieces.join('') + stream.flush()
    assert.doesNotMatch(text, /\p{Surrogate}/u)
  }
})

test('whole characters come out as they are', () => {
  const stream = streamDecoder(decode)
  const bytes = [...new TextEncoder().encode('a😀b 𝄞é')]
  assert.equal(bytes.map((byte) => stream.push(byte)).join('') + stream.flush(), 'a😀b 𝄞é')
})
