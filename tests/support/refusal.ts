import * as assert from 'node:assert/strict'
import { FettleError } from 'fettle/dist/errors'

/** Checks that `error` is one of Fettle's, with this code and these words in its message. */
export function assertRefusal(error: unknown, code: string, ...words: string[]): asserts error is FettleError {
  assert.ok(error instanceof FettleError, `expected a FettleError, got ${String(error)}`)
  assert.equal(error.code, code, error.message)
  for (const word of words) assert.ok(error.message.includes(word), `expected "${word}" in: ${error.message}`)
}

/** Checks that `work` throws such an error. */
export function refusal(work: () => unknown, code: string, ...words: string[]): void {
  assert.throws(work, error => {
    assertRefusal(error, code, ...words)
    return true
  })
}

/** Checks that a promise fails with such an error, and returns it. */
export async function refusalOf(work: Promise<unknown>, code: string, ...words: string[]): Promise<FettleError> {
  const error = await work.then(() => undefined, (e: unknown) => e)
  assertRefusal(error, code, ...words)
  return error
}
