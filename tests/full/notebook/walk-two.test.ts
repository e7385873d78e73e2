import assert from 'node:assert/strict'
import { test } from 'node:test'
import { board, Lab, labMissing, prepareRun, runCell } from '../../support/lab'

test('a second tab of a notebook and a second notebook do not disturb the first', { skip: labMissing, timeout: 300_000 }, async (t) => {
  const lab = await Lab.open(t)
  prepareRun(lab.folder)
  const first = await lab.notebook([runCell(lab.folder)], 'first.ipynb')
  await first.run(0)
  await first.statusIs('training')

  const twin = await lab.tab('first.ipynb')
  await twin.statusIs('training')
  await twin.stepAbove(await twin.step())
  assert.equal(await twin.page.locator(board).count(), 1)
  await twin.press('pause', /paused/)
  await first.page.bringToFront()
  await first.statusIs('paused')
  await first.press('resume', /training again/)
  await first.stepAbove(await first.step())
  await twin.page.close()

  const second = await lab.notebook([runCell(lab.folder, { out: 'other' })], 'second.ipynb')
  await second.run(0)
  await second.statusIs('training')
  const run = (tab: typeof first) => tab.page.getAttribute(board, 'data-fettle-run')
  assert.notEqual(await run(first), await run(second))
  assert.equal((await lab.kernels()).length, 2)
  await second.press('stop', /stopped/)
  assert.equal(await second.status(), 'stopped')
  await first.page.bringToFront()
  const step = await first.step()
  await first.stepAbove(step + 20)
  assert.equal(await first.status(), 'training')
  assert.equal(await first.page.locator(board).count(), 1)
  await first.press('stop', /stopped/)
  for (const tab of [first, second]) assert.deepEqual([tab.seen, tab.dialogs], [{ errors: [], remote: [] }, []])
})
