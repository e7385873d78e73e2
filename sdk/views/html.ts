/** Markup that is known to be safe: made by `html`, so that everything put into it was escaped. */
export class Html {
  constructor(private readonly markup: string) {}
  toString(): string { return this.markup }
}

/** What may stand in an `html` template. */
export type HtmlPart = Html | string | number | readonly HtmlPart[] | null | undefined | false

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Text as it may stand in markup and attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => entities[c])
}

function markupOf(part: HtmlPart): string {
  if (part === null || part === undefined || part === false) return ''
  if (part instanceof Html) return part.toString()
  if (Array.isArray(part)) return part.map(markupOf).join('')
  return escapeHtml(String(part))
}

/** Template tag that escapes all it is given, other `html` apart. */
export function html(strings: TemplateStringsArray, ...parts: readonly HtmlPart[]): Html {
  return new Html(strings.reduce((out, text, i) => out + markupOf(parts[i - 1]) + text))
}

/** A value as JSON that may stand inside a script element. */
export function scriptJson(value: unknown): Html {
  return new Html(JSON.stringify(value).replace(/</g, '\\u003c').replace(/\u2028/g, '\\u2028').replace(/\u2029/g, '\\u2029'))
}
