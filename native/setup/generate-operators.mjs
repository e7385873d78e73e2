// Writes native/ops/*.ts, the typed wrappers, from native/ops/operators.txt and the schemas of the libtorch at hand.
// `node native/setup/generate-operators.mjs`, after a build. The result is committed; a test compares it with libtorch.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const { operator } = createRequire(import.meta.url)('../dist/operator.js')

const SCALARS = {
  Tensor: 'Tensor', int: 'number', SymInt: 'number', float: 'number', bool: 'boolean', str: 'string', Scalar: 'Scalar',
  ScalarType: 'DType', Device: 'Device', Layout: "'strided'", MemoryFormat: 'MemoryFormat', Generator: 'undefined', Dimname: 'string',
}

/** TypeScript's type of a schema type such as `Tensor?[]` or `int[2]?`. */
function typeOf(text, returned = false) {
  const t = text.replace(/\([a-z]!?( -> \*)?\)/g, '')
  if (t.endsWith('?')) return typeOf(t.slice(0, -1), returned) + (returned ? ' | undefined' : ' | undefined')
  const list = t.match(/^(.*)\[(\d*)\]$/)
  if (!list) return (returned && t === 'Scalar' ? 'number' : SCALARS[t]) ?? 'unknown'
  const item = typeOf(list[1], returned)
  const array = returned ? `${item}[]` : `readonly ${item.includes('|') ? `(${item})` : item}[]`
  return list[2] && !returned ? `${array} | ${item}` : array
}

/** Splits at top-level commas. */
function split(text) {
  const parts = []
  let depth = 0, from = 0
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i])) depth++
    if (')]}'.includes(text[i])) depth--
    if (text[i] === ',' && depth === 0) { parts.push(text.slice(from, i).trim()); from = i + 1 }
  }
  if (text.slice(from).trim()) parts.push(text.slice(from).trim())
  return parts
}

/** Parameters and returns of a schema string. */
export function parse(schema) {
  const open = schema.indexOf('(')
  const arrow = schema.lastIndexOf(') -> ')
  let keyword = false
  const parameters = []
  for (const part of split(schema.slice(open + 1, arrow))) {
    if (part === '*') { keyword = true; continue }
    const [, type, name, fallback] = part.match(/^(\S+(?: -> \*\)\S*)?) (\w+)(?:=(.*))?$/)
    parameters.push({ type, name, optional: fallback !== undefined, keyword, out: keyword && type.includes('!') })
  }
  const tail = schema.slice(arrow + 5)
  return { parameters, returns: tail === '()' ? [] : tail.startsWith('(') && !/^\([a-z]!\)/.test(tail) ? split(tail.slice(1, -1)) : [tail] }
}

const camel = (name) => name.replace(/_([a-z])/g, (_, c) => c.toUpperCase())
const RESERVED = new Set(['in', 'var', 'function', 'default', 'with'])
const safe = (name) => (RESERVED.has(name) ? `${name}_` : name)

function signature(schema) {
  const { parameters, returns } = parse(schema)
  const outs = parameters.filter((p) => p.out)
  const plain = parameters.filter((p) => !p.keyword)
  const options = parameters.filter((p) => p.keyword && !p.out && p.name !== 'pin_memory' && p.name !== 'layout' && p.name !== 'generator')
  const given = [...outs, ...plain].map((p, i, all) => {
    const optional = all.slice(i).every((q) => q.optional)
    return `${safe(camel(p.name))}${optional ? '?' : ''}: ${typeOf(p.type)}${p.optional && !optional ? ' | undefined' : ''}`
  })
  if (options.length) {
    const all = options.every((p) => p.optional)
    given.push(`options${all ? '?' : ''}: { ${options.map((p) => `${camel(p.name)}${p.optional ? '?' : ''}: ${typeOf(p.type)}`).join('; ')} }`)
  }
  const name = (r) => typeOf(r.replace(/ \w+$/, ''), true)
  const result = returns.length === 0 ? 'void' : returns.length === 1 ? name(returns[0]) : `[${returns.map(name).join(', ')}]`
  return `(${given.join(', ')}) => ${result}`
}

/** `add = add.Tensor | add.Scalar`: the second overload serves calls that pass a plain number where the first wants a tensor. */
function line(text) {
  const [name, spec] = text.includes('=') ? text.split('=').map((s) => s.trim()) : [text.replace('.', '_'), text]
  const found = spec.split('|').map((s) => {
    const [full, overload] = s.trim().split('.')
    return operator(full, overload ?? '').schema
  })
  const types = found.map(signature)
  const type = types.length === 1 ? types[0] : types.map((t) => `(${t})`).join(' & ')
  return `  ${name}: op<${type}>(${found.map((s) => `'${s.replace(/'/g, '"')}'`).join(', ')}),`
}

/** Lines of operators.txt by group. */
function readGroups() {
  const groups = {}
  let group
  for (const raw of fs.readFileSync(path.join(root, 'ops', 'operators.txt'), 'utf8').split('\n')) {
    const text = raw.trim()
    if (!text || text.startsWith('#')) continue
    if (text.startsWith('[')) groups[(group = text.slice(1, -1))] = []
    else groups[group].push(line(text))
  }
  return groups
}

const MADE = '// Made by native/setup/generate-operators.mjs from operators.txt; edit that, not this.'

/** The source of one group's file. */
function groupFile(name, lines) {
  const body = lines.join('\n')
  const code = body.replace(/'[^']*::[^']*'/g, '')
  const types = ['DType', 'Device', 'MemoryFormat', 'Scalar'].filter((t) => new RegExp(`\\b${t}\\b`).test(code))
  const imports = [`import { op } from './op'`, `import type { Tensor } from '../tensor'`]
  if (types.length) imports.push(`import type { ${types.join(', ')} } from '../types'`)
  return `${MADE}\n${imports.join('\n')}\n\nexport const ${name} = {\n${body}\n}\n`
}

/** The source of the file that joins the groups. */
function indexFile(names) {
  return `${MADE}
${names.map((n) => `import { ${n} } from './${n}'`).join('\n')}

/**
 * ATen operators by name, typed from their schemas. Positional parameters stand in schema order, keyword-only ones in a last
 * options object; out variants (\`mm_out\`) take the result tensor first. In-place and out variants return the tensor passed.
 */
export const ops = { ${names.map((n) => `...${n}`).join(', ')} }
`
}

const groups = readGroups()
for (const [name, lines] of Object.entries(groups)) fs.writeFileSync(path.join(root, 'ops', `${name}.ts`), groupFile(name, lines))
fs.writeFileSync(path.join(root, 'ops', 'index.ts'), indexFile(Object.keys(groups)))
console.log(`${Object.values(groups).flat().length} operators in ${Object.keys(groups).length} groups`)
