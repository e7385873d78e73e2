// Writes the tables of arguments at the end of command-line.md from the argument table itself: `npm run docs`, or `node docs/argument-tables.mjs FILE` for a copy.
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url)), require = createRequire(import.meta.url)
const { groups } = require('../sdk/dist/plan/arguments/fields.js')

const marks = { plan: '', secret: '', note: 'Accepted, changes nothing: ', notYet: 'Not there yet: ' }

function row({ name, aliases, default: initial, status, note }) {
  const text = marks[status] + note
  return `| ${[name, ...aliases].map((each) => `\`${each}\``).join(', ')} | \`${JSON.stringify(initial)}\` | ${text.replace(/\|/g, '\\|')} |`
}

const file = path.join(here, 'command-line.md'), page = fs.readFileSync(file, 'utf8')
const titles = Object.keys(groups), start = page.indexOf(`### ${titles[0]}\n`)
if (start < 0) throw new Error(`command-line.md has no "### ${titles[0]}" for the tables to begin at`)
const tables = Object.entries(groups).map(([title, fields]) => `### ${title}\n| name | default | |\n|---|---|---|\n${fields.map(row).join('\n')}\n`)
fs.writeFileSync(process.argv[2] ?? file, page.slice(0, start) + tables.join('\n'))
