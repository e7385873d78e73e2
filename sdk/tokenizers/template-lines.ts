/** A `{{ … }}` or `{% … %}` of a Jinja template. */
export interface TemplateTag {
  readonly text: string
  /** From 1. */
  readonly line: number
  /** Index of its first character. */
  readonly at: number
}

const tagPattern = /\{#[\s\S]*?#\}|\{%-?\s*raw\s*-?%\}[\s\S]*?\{%-?\s*endraw\s*-?%\}|\{\{(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[\s\S])*?\}\}|\{%(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[\s\S])*?%\}/g

/** All tags of a template in order, without comments and raw parts. */
export function tagLines(source: string): TemplateTag[] {
  const tags: TemplateTag[] = []
  let line = 1
  let counted = 0
  for (const match of source.matchAll(tagPattern)) {
    const at = match.index ?? 0
    for (; counted < at; counted++) if (source[counted] === '\n') line++
    if (!match[0].startsWith('{#') && !/^\{%-?\s*raw/.test(match[0])) tags.push({ text: match[0], line, at })
  }
  return tags
}

/** A tag made into a template of its own, so that it can be parsed alone; null for tags that only close or divide others. */
export function wrapTag(text: string): string | null {
  if (text.startsWith('{{')) return text
  const keyword = /^\{%-?\s*(\w+)/.exec(text)?.[1] ?? ''
  if (keyword === 'elif') return text.replace('elif', 'if') + '{% endif %}'
  if (keyword.startsWith('end') || keyword === 'else' || keyword === 'generation') return null
  const closed = ['if', 'for', 'macro', 'call', 'filter'].includes(keyword) || (keyword === 'set' && !text.includes('='))
  return closed ? `${text}{% end${keyword} %}` : text
}

/** The template with `{{ name(line) }}` before each tag that may stand behind one. */
export function withLineCalls(source: string, name: string): string {
  let out = ''
  let from = 0
  for (const tag of tagLines(source)) {
    out += `${source.slice(from, tag.at)}{{ ${name}(${tag.line}) }}`
    from = tag.at
  }
  return out + source.slice(from)
}
