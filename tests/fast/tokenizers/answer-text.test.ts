import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnswerText } from 'fettle/dist/tokenizers/answer-text'

/** A tokenizer whose ids are characters. */
const characters = { streamDecoder: () => ({ push: (id: number) => String.fromCodePoint(id), flush: () => '' }) }

function answer(text: string, stop: readonly string[]): { shown: string[]; text: string; ended: boolean } {
  const shown: string[] = []
  const growing = new AnswerText(characters, stop, (piece) => shown.push(piece))
  for (const character of text) growing.push(character.codePointAt(0)!)
  const { ended } = growing
  return { shown, text: growing.end(), ended }
}

test('without stop strings every piece is shown at once', () => {
  assert.deepEqual(answer('abc', []), { shown: ['a', 'b', 'c'], text: 'abc', ended: false })
  assert.deepEqual(answer('ab', ['']), { shown: ['a', 'b'], text: 'ab', ended: false })
})

test('only a possible start of a stop string is held back', () => {
  assert.deepEqual(answer('ab#c', ['##']), { shown: ['a', 'b', '#c'], text: 'ab#c', ended: false })
  assert.deepEqual(answer('ab#', ['##']), { shown: ['a', 'b', '#'], text: 'ab#', ended: false })
  assert.deepEqual(answer('xaab', ['ab', 'zz']).shown, ['x', 'a'])
})

test('the first of several stop strings ends the answer and is not part of it', () => {
  assert.deepEqual(answer('ab##cSTOP', ['STOP', '##']), { shown: ['a', 'b'], text: 'ab', ended: true })
  assert.deepEqual(answer('aSTbSTOPc', ['STOP', '##']), { shown: ['a', 'STb'], text: 'aSTb', ended: true })
})
