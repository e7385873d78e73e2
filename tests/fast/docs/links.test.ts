import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { repoRoot } from '../../support/paths'

const folder = path.join(repoRoot, 'docs')
const pages = ['README.md', ...fs.readdirSync(folder).filter((name) => name.endsWith('.md')).map((name) => path.join('docs', name))]

test('links of the docs lead to files and headings', () => {
  const missing: string[] = []
  for (const page of [...pages, ...fs.readdirSync(path.join(folder, 'reference')).map((name) => path.join('docs', 'reference', name))]) {
    const text = fs.readFileSync(path.join(repoRoot, page), 'utf8').replace(/^```.*?^```$/gms, '')
    for (const [, link] of text.matchAll(/(?<!!\[[^\]]*)\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue
      const [file, anchor] = link.split('#')
      const target = file === '' ? path.join(repoRoot, page) : path.resolve(repoRoot, path.dirname(page), file)
      if (!fs.existsSync(target)) missing.push(`${page}: ${link}`)
      else if (anchor !== undefined && !anchorsOf(target).has(anchor)) missing.push(`${page}: ${link}`)
    }
  }
  assert.deepEqual(missing, [])
})

/** Anchors as GitHub makes them of headings, and those that are written out. */
function anchorsOf(file: string): Set<string> {
  const text = fs.readFileSync(file, 'utf8').replace(/^```.*?^```$/gms, '')
  const found = new Set([...text.matchAll(/<a id="([^"]+)"/g)].map(([, id]) => id))
  const seen = new Map<string, number>()
  for (const [, heading] of text.matchAll(/^#{1,6} (.*)$/gm)) {
    const slug = heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').trim().replace(/\s/g, '-')
    const count = seen.get(slug) ?? 0
    seen.set(slug, count + 1)
    found.add(count === 0 ? slug : `${slug}-${count}`)
  }
  return found
}
