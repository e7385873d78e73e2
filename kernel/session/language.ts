import type { CompletionInfo, SourceFile } from '@tslab/typescript-for-tslab'
import type { Converter, ConvertResult } from 'tslab/dist/converter'
import { compiler as ts, currentProgram } from './compiler'
import { candidatesOf, completionReply, type CompletionReply } from './completion'
import { around, hoverOf, optionAt, optionsOf, type Hover } from './hover'
import { importableModules, moduleNameAt } from './imports'
import { withSuggestion } from './suggest'
import { fromCodePoints } from './text'

/** Content of an `inspect_reply`. */
export interface InspectReply extends Record<string, unknown> {
  readonly found: boolean
  readonly data: Readonly<Record<string, string>>
  readonly metadata: Readonly<Record<string, never>>
}

/**
 * Completion and hover, answered by the compiler that checks the cells. It knows the names of a cell as soon as that cell
 * is running, so that `run.` completes in the next one while the first still awaits.
 */
export class Language {
  /** What tslab's executor converts cells with. */
  readonly converter: Converter
  /** Declarations of the cells that ended well. */
  private declared = ''
  /** The same with those of the cell that runs. */
  private running: string | null = null

  constructor(private readonly inner: Converter) {
    this.converter = { ...inner, convert: (before, code) => this.convert(before, code) }
  }

  /** The cell that ran has ended; a failed one leaves no names. */
  ended(ok: boolean): void {
    if (ok && this.running !== null) this.declared = this.running
    this.running = null
  }

  complete(code: string, position: number): CompletionReply {
    const at = fromCodePoints(code, position)
    const span = moduleNameAt(code, at)
    if (span) return completionReply(code, position, importableModules(process.cwd()).map((name) => ({ name, kind: 'module', order: name === 'fettle' ? '' : name })), span)
    const { original } = this.inner.complete(this.names, code, at) as unknown as { original?: CompletionInfo }
    const found = candidatesOf(original, this.offset(code))
    return completionReply(code, position, found.candidates.filter(({ name }) => !this.isInternal(code, at, name)), found.span)
  }

  /** Whether a member of the object before the cursor is marked `@internal`: Fettle's own parts call it, users need not. */
  private isInternal(code: string, at: number, name: string): boolean {
    const source = this.source()
    const checker = currentProgram()?.getTypeChecker()
    if (!source || !checker) return false
    const start = at - /[\p{L}\p{N}_$]*$/u.exec(code.slice(0, at))![0].length
    const dot = ts.findPrecedingToken(start + this.offset(code), source)
    if (!dot || !ts.isPropertyAccessExpression(dot.parent) || dot === dot.parent.expression) return false
    return checker.getTypeAtLocation(dot.parent.expression).getProperty(name)?.getJsDocTags().some((tag) => tag.name === 'internal') ?? false
  }

  inspect(code: string, position: number): InspectReply {
    const hover = this.hover(code, fromCodePoints(code, position))
    if (!hover) return { found: false, data: {}, metadata: {} }
    const { signature, docs } = hover
    return { found: true, metadata: {}, data: {
      'text/plain': docs ? `${signature}\n\n${docs}` : signature,
      'text/markdown': `\`\`\`typescript\n${signature}\n\`\`\`${docs ? `\n\n${docs}` : ''}`,
    } }
  }

  private convert(before: string, code: string): ConvertResult {
    const result = this.inner.convert(before, code)
    this.declared = before
    this.running = result.diagnostics.length > 0 ? null : result.declOutput ?? ''
    return { ...result, diagnostics: result.diagnostics.map((finding) => ({ ...finding, messageText: withSuggestion(finding.messageText) })) }
  }

  private get names(): string { return this.running ?? this.declared }

  private hover(code: string, at: number): Hover | null {
    // tslab's own answer comes first for its side effect too: it makes this text the compiler's current program.
    const info = this.inner.inspect(this.names, code, at)
    const source = this.source()
    const checker = currentProgram()?.getTypeChecker()
    if (!source || !checker) return info ? hoverOf(info) : null
    const offset = this.offset(code)
    const name = ts.getTouchingPropertyName(source, at + offset)
    const option = optionAt(checker, source, name.parent)
    if (option && ts.isIdentifier(name)) return option
    if (info) return hoverOf(info, optionsOf(checker, source, name))
    const place = around(source, at + offset)
    if (!place) return null
    if ('option' in place) return optionAt(checker, source, place.option)
    const call = this.inner.inspect(this.names, code, place.callee.getStart(source) - offset)
    return call ? hoverOf(call, optionsOf(checker, source, place.callee)) : null
  }

  private source(): SourceFile | undefined {
    return currentProgram()?.getSourceFiles().find(({ fileName }) => fileName.endsWith('/__tslab__.ts'))
  }

  /** tslab puts a line before each cell, to make it a module. */
  private offset(code: string): number { return (this.source()?.text.length ?? code.length) - code.length }
}
