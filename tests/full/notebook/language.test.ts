import assert from 'node:assert/strict'
import { test } from 'node:test'
import { temporaryFolder } from '../../support/tiny'
import { TestKernel } from '../../support/notebook'

test('a kernel completes, shows and refuses, as a Jupyter client asks it', async (t) => {
  const kernel = await TestKernel.start(temporaryFolder(t))
  t.after(() => kernel.close())
  const session = kernel.client.kernel
  await kernel.run("import { sft } from 'fettle'\nlet ran = 0\nconst base = sft('m')")

  const code = "const s = '😀'; base.learn"
  const { content: found } = await session.requestComplete({ code, cursor_pos: [...code].length })
  assert.equal(found.status, 'ok')
  if (found.status !== 'ok') return
  assert.deepEqual(found.matches, ['learningRate'])
  assert.deepEqual([[...code].slice(found.cursor_start, found.cursor_end).join(''), (found.metadata._jupyter_types_experimental as any)[0].type], ['learn', 'method'])

  const { content: shown } = await session.requestInspect({ code: 'base.lora({ rank: 8 })', cursor_pos: 14, detail_level: 0 })
  assert.equal(shown.status === 'ok' && shown.found, true)
  assert.match(String((shown as any).data['text/plain']), /LoraOptions\.rank\?: number\n\n.*1 to 65536\. Default 8\./)
  assert.match(String((shown as any).data['text/markdown']), /^```typescript\n/)
  const { content: nothing } = await session.requestInspect({ code: '1 + 1', cursor_pos: 3, detail_level: 0 })
  assert.deepEqual([nothing.status, nothing.status === 'ok' && nothing.found], ['ok', false])

  const { content: refused } = await kernel.run('ran = 1\nbase.lora({ rnk: 8 })')
  assert.deepEqual([refused.status, refused.ename], ['error', 'TypeScriptError'])
  assert.match(refused.evalue, /'rnk' does not exist in type 'LoraOptions'.*Did you mean to write 'rank'\?/)
  const { heard } = await kernel.run('ran')
  assert.equal(heard.find(({ type }) => type === 'execute_result')?.content.data['text/plain'], '0')

  // While a cell waits, the names that it declared complete already.
  const waiting = kernel.send('const later = sft("other")\nawait new Promise((resolve) => setTimeout(resolve, 1500))')
  await kernel.until(({ parent, type }) => parent === waiting.id && type === 'execute_input')
  await new Promise((resolve) => setTimeout(resolve, 500))
  const { content: early } = await session.requestComplete({ code: 'later.lor', cursor_pos: 9 })
  assert.deepEqual(early.status === 'ok' && early.matches, ['lora'])
  await waiting.answer
})
