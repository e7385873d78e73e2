import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Runs } from 'fettle-kernel/dist/session/runs'

/** A run that notes what is asked of it. */
function fakeRun(detached: boolean) {
  const asked: string[] = []
  let end: () => void = () => undefined
  const done = new Promise<void>((resolve) => { end = resolve })
  const note = (name: string) => async () => { asked.push(name); end() }
  return { asked, run: { id: name(detached), events: [], done, detached, stop: note('stop'), close: note('close'), kill: () => { asked.push('kill') } } }
}
const name = (detached: boolean) => (detached ? 'detached' : 'attended')

test('an interrupt leaves a detached run alone, and so does the end of its kernel', async () => {
  const cell = {} as never
  let left = 0
  const runs = new Runs(() => cell, () => { left++ }, () => undefined)
  const far = fakeRun(true)
  runs.show(far.run)
  runs.interrupt()
  assert.deepEqual([far.asked, left], [[], 1])
  assert.match((await runs.leave())!.evalue, /the cell was left\. The detached run goes on; stop it with: await run\.stop\(\)/)

  const near = fakeRun(false)
  runs.show(near.run)
  runs.interrupt()
  assert.match((await runs.leave())!.evalue, /the run was stopped/)
  assert.deepEqual([near.asked, far.asked], [['stop'], []])

  await runs.shutdown()
  assert.deepEqual(far.asked, [])
  assert.deepEqual(near.asked, ['stop', 'stop', 'close'])
})
