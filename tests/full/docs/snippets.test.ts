import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { openNotebook } from '../../support/language'
import { repoRoot } from '../../support/paths'

const pages = ['README.md', ...fs.readdirSync(path.join(repoRoot, 'docs')).filter((name) => name.endsWith('.md')).map((name) => path.join('docs', name))]

test('the snippets of the docs compile as cells of one notebook a page', (t) => {
  const notebook = openNotebook(repoRoot)
  t.after(() => notebook.close())
  for (const page of pages) {
    notebook.reset()
    for (const [, code] of fs.readFileSync(path.join(repoRoot, page), 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)) {
      if (code.includes('…')) continue // an excerpt
      const findings = notebook.begin(code)
      assert.deepEqual(findings, [], `${page}: ${code}`)
      notebook.end(true)
    }
  }
})
