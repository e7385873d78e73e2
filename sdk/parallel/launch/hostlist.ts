import { environmentError } from './variables'

/**
 * The hosts of a Slurm host list, in its order: `a[01-03,7],b5` is a01 a02 a03 a7 b5. Zeros in front of a range's first number
 * set its width; a name may have several brackets. `name` is the variable, for complaints.
 */
export function parseHostlist(text: string, name = 'SLURM_JOB_NODELIST'): string[] {
  const bad = (what: string) => environmentError(`expected a Slurm host list in ${name}, got ${JSON.stringify(text)}: ${what}`, [name], 'set MASTER_ADDR to the host of rank 0')
  const hosts = splitOutside(text, bad).flatMap((part) => expand(part, bad))
  if (hosts.length === 0) throw bad('it is empty')
  return hosts
}

type Bad = (what: string) => Error

/** Cuts at commas that no bracket holds. */
function splitOutside(text: string, bad: Bad): string[] {
  const parts: string[] = []
  let depth = 0, part = ''
  for (const char of text) {
    if (char === '[') depth++
    if (char === ']') depth--
    if (depth < 0 || depth > 1) throw bad('its brackets do not match')
    if (char === ',' && depth === 0) { parts.push(part); part = '' } else part += char
  }
  if (depth !== 0) throw bad('its brackets do not match')
  return [...parts, part].map((each) => each.trim()).filter((each) => each !== '')
}

function expand(part: string, bad: Bad): string[] {
  const match = /^([^[]*)\[([^\]]*)\](.*)$/.exec(part)
  if (!match) {
    if (/\s/.test(part)) throw bad(`${part} is no host name`)
    return [part]
  }
  const [, before, inside, after] = match
  const rest = after === '' ? [''] : expand(after, bad)
  return inside.split(',').flatMap((range) => numbers(range.trim(), bad)).flatMap((number) => rest.map((end) => before + number + end))
}

function numbers(range: string, bad: Bad): string[] {
  const match = /^(\d+)(?:-(\d+))?$/.exec(range)
  if (!match) throw bad(`${JSON.stringify(range)} is no range of numbers`)
  const [, first, last = first] = match
  const count = Number(last) - Number(first) + 1
  if (count < 1 || count > 65536) throw bad(`${range} does not rise, or has too many hosts`)
  return Array.from({ length: count }, (_, i) => String(Number(first) + i).padStart(first.length, '0'))
}

/** Slurm's counts by node: `2(x3),1` is 2 2 2 1. `name` is the variable, for complaints. */
export function parseCounts(text: string, name = 'SLURM_TASKS_PER_NODE'): number[] {
  return text.split(',').flatMap((part) => {
    const match = /^(\d+)(?:\(x(\d+)\))?$/.exec(part.trim())
    if (!match) throw environmentError(`expected Slurm's counts by node, such as 2(x3),1, in ${name}, got ${JSON.stringify(text)}`, [name], `correct it, or unset ${name}`)
    return Array.from({ length: Number(match[2] ?? 1) }, () => Number(match[1]))
  })
}
