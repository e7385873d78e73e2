import type * as typescript from '@tslab/typescript-for-tslab'
import { compiler as ts } from './compiler'

/** What is shown of a name. */
export interface Hover {
  /** Its signature, in TypeScript. */
  readonly signature: string
  /** Its docstring, in Markdown, with parameters and options. */
  readonly docs: string
}

type Parts = readonly typescript.SymbolDisplayPart[] | undefined

/** The text of docs; a link shows as the name that it leads to. */
function textOf(parts: Parts): string {
  return (parts ?? []).map(({ kind, text }) => (kind === 'link' ? text.replace(/^\{@link(?:code|plain)?\s*|\}$/g, '') : text)).join('')
}

/** Docs and tags of the compiler's quick info. */
export function hoverOf(info: Pick<typescript.QuickInfo, 'displayParts' | 'documentation' | 'tags'>, options: readonly string[] = []): Hover {
  const tags = (info.tags ?? []).flatMap(({ name, text }) => {
    const body = textOf(text)
    if (name === 'param') return [`- \`${body.replace(/^(\S+)\s*/, '$1` ')}`]
    return body ? [`*@${name}* ${body}`] : []
  })
  // How a name came into the cell says less than what it is.
  const signature = textOf(info.displayParts).replace(/^\(alias\) /, '').replace(/\nimport [^\n]*$/, '')
  return { signature, docs: [textOf(info.documentation), tags.join('\n'), options.join('\n')].filter(Boolean).join('\n\n') }
}

/** The option whose name or value stands at `node`, as the function that takes the object declares it. */
export function optionAt(checker: typescript.TypeChecker, source: typescript.SourceFile, node: typescript.Node): Hover | null {
  const element = ts.isObjectLiteralElementLike(node) ? node : null
  if (!element || !ts.isObjectLiteralExpression(element.parent) || !element.name) return null
  const symbol = checker.getContextualType(element.parent)?.getProperty(element.name.getText(source))
  return symbol ? hoverOf(describe(checker, source, element, symbol)) : null
}

function describe(checker: typescript.TypeChecker, source: typescript.SourceFile, node: typescript.Node, symbol: typescript.Symbol): Pick<typescript.QuickInfo, 'displayParts' | 'documentation' | 'tags'> {
  return ts.SymbolDisplay.getSymbolDisplayPartsDocumentationAndSymbolKind(checker, symbol, source, node, node)
}

/** One line an option for each parameter of a call that is an object of options. */
export function optionsOf(checker: typescript.TypeChecker, source: typescript.SourceFile, callee: typescript.Node): string[] {
  const signatures = checker.getTypeAtLocation(callee).getCallSignatures()
  const parameter = signatures[0]?.parameters.find(({ name }) => ['options', 'cadence', 'values'].includes(name))
  if (!parameter) return []
  const type = checker.getNonNullableType(checker.getTypeOfSymbolAtLocation(parameter, callee))
  return type.getProperties().map((option) => {
    const optional = (option.flags & ts.SymbolFlags.Optional) !== 0
    const text = checker.typeToString(checker.getNonNullableType(checker.getTypeOfSymbolAtLocation(option, callee)))
    return `- \`${option.name}${optional ? '?' : ''}: ${text}\` ${textOf(describe(checker, source, callee, option).documentation).replace(/\s*\n\s*/g, ' ')}`.trimEnd()
  })
}

/**
 * What is around a place that no name stands at: an option whose value is being written, or the call whose arguments
 * are. A function's body or a finished call in between says that the place is about something else.
 */
export function around(source: typescript.SourceFile, at: number): { option: typescript.Node } | { callee: typescript.Node } | null {
  const token = ts.findPrecedingToken(at, source)
  for (let node = token; node && !ts.isSourceFile(node); node = node.parent) {
    if (ts.isFunctionLike(node) || ts.isBlock(node)) return null
    if (ts.isPropertyAssignment(node) && at <= node.end && token?.kind !== ts.SyntaxKind.CommaToken) return { option: node }
    if (!ts.isCallExpression(node) && !ts.isNewExpression(node)) continue
    const closed = source.text[node.end - 1] === ')' && at >= node.end
    if (!closed && at > node.expression.end) return { callee: ts.isPropertyAccessExpression(node.expression) ? node.expression.name : node.expression }
  }
  return null
}
