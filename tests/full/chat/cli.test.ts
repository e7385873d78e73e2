import * as assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as path from 'node:path'
import { test } from 'node:test'
import { chatModel, chatRun, chatting, finished, temporaryFolder } from '../../support/chat'
import { repoRoot } from '../../support/paths'

function fettle(input: string, ...args: string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync(process.execPath, [path.join(repoRoot, 'sdk', 'bin', 'fettle.js'), 'chat', ...args, '--threads', '1', '--max-new-tokens', '6'], { input, encoding: 'utf8', env: { ...process.env, OMP_NUM_THREADS: '1' } })
}

test('fettle chat answers line by line, forgets on /clear and ends on /exit', async (t) => {
  const model = chatModel(temporaryFolder(t)), c = await chatting(t, model, { maxNewTokens: 6 })
  const { base } = await c.ask('Hello')
  const { status, stdout, stderr } = fettle('Hello\n\n/clear\nHello\n/exit\nnever\n', model)
  assert.deepEqual([status, stdout], [0, `${base}\n${base}\n`], stderr)
  const { base: second } = await c.ask('Again')
  assert.deepEqual(fettle('Hello\nAgain\n', model, '--json').stdout.trimEnd().split('\n').map((line) => (JSON.parse(line) as { base: string }).base), [base, second])
  assert.equal(fettle('Hello\n', model, '--sides', 'tuned').status, 2)
})

test("fettle chat RUN_DIR shows an adapter's side and its base's", async (t) => {
  const run = await finished(t, await chatRun(temporaryFolder(t), 8).lora({ rank: 4 }).start())
  const c = await chatting(t, run, { maxNewTokens: 6 }), { base, tuned } = await c.ask('n 1')
  const live = fettle('n 1\n', run.dir)
  assert.deepEqual([live.status, live.stdout], [0, `tuned: ${tuned}\nbase: ${base}\n`], live.stderr)
  await run.close()
  assert.equal(fettle('n 1\n', run.dir).stdout, live.stdout)
})
