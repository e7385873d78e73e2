import { test } from 'node:test'
import { openWeights } from 'fettle/dist/models/weights'
import { checkRoom } from 'fettle/dist/worker/serve'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'

test('a model that memory does not suffice for is refused before it is read', () => {
  const weights = openWeights(fixture('golden', 'llama-v2-gqa'))
  const values = weights.names().reduce((sum, name) => sum + weights.info(name).shape.reduce((a, b) => a * b, 1), 0)
  checkRoom(weights, 4, 4 * values)
  checkRoom(weights, 2, 2 * values)
  refusal(() => checkRoom(weights, 4, 4 * values - 1), 'chat.memory', "{ sides: ['tuned'] }", "{ precision: 'bf16' }")
  weights.close()
})
