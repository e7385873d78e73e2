import Module from 'node:module'
import type * as typescript from '@tslab/typescript-for-tslab'

type Described = Pick<typescript.QuickInfo, 'displayParts' | 'documentation' | 'tags'>

/** Functions of the compiler that its types do not name; tslab itself is made of them. */
interface Internals {
  findPrecedingToken(position: number, source: typescript.SourceFile): typescript.Node | undefined
  getTouchingPropertyName(source: typescript.SourceFile, position: number): typescript.Node
  readonly SymbolDisplay: {
    getSymbolDisplayPartsDocumentationAndSymbolKind(checker: typescript.TypeChecker, symbol: typescript.Symbol, source: typescript.SourceFile, container: typescript.Node | undefined, node: typescript.Node): Described
  }
}

/** The TypeScript that tslab checks cells with. A second one would double the kernel's start. */
export const compiler = Module.createRequire(require.resolve('tslab/package.json'))('@tslab/typescript-for-tslab') as typeof typescript & Internals

let watch: { getProgram(): { getProgram(): typescript.Program } } | undefined

/** Makes the compiler's watch, and remembers it for {@link currentProgram}. */
export function createWatchProgram(...args: unknown[]): unknown {
  watch = (compiler.createWatchProgram as (...args: unknown[]) => never)(...args)
  return watch
}

/** The program that tslab looked at last. */
export function currentProgram(): typescript.Program | undefined { return watch?.getProgram().getProgram() }
