/** Plain data that a manifest is made of. */
export type Plain = string | number | boolean | readonly Plain[] | { readonly [name: string]: Plain | undefined }

/** Plain data as YAML, in blocks. Strings that YAML could take for something else are quoted as JSON, which is YAML too. */
export function toYaml(value: Plain): string { return `${lines(value).join('\n')}\n` }

function lines(value: Plain): string[] {
  if (typeof value !== 'object') return [scalar(value)]
  if (Array.isArray(value)) return value.length === 0 ? ['[]'] : (value as readonly Plain[]).flatMap((item) => under(lines(item)))
  const entries = Object.entries(value as Record<string, Plain | undefined>).filter((entry): entry is [string, Plain] => entry[1] !== undefined)
  return entries.length === 0 ? ['{}'] : entries.flatMap(([name, item]) => (isBlock(item) ? [`${scalar(name)}:`, ...lines(item).map((line) => `  ${line}`)] : [`${scalar(name)}: ${lines(item)[0]}`]))
}

/** A block beside its dash: the first line behind it, the others below that one. */
function under(block: readonly string[]): string[] { return block.map((line, i) => `${i === 0 ? '- ' : '  '}${line}`) }

function isBlock(item: Plain): boolean { return typeof item === 'object' && lines(item)[0] !== '[]' && lines(item)[0] !== '{}' }

function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value)
  return /^[A-Za-z/][\w./-]*$/.test(value) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(value) ? value : JSON.stringify(value)
}
