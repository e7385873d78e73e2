import { fromCodePoints, toCodePoints } from 'fettle-kernel/dist/session/text'
import type { Language } from 'fettle-kernel/dist/session/language'
import * as path from 'node:path'

/** What a notebook in `folder` completes and shows, by the kernel's own compiler, without sockets. `|` marks the cursor. */
export function openNotebook(folder: string) {
  const { shareModules } = require('fettle-kernel/dist/session/resolve') as typeof import('fettle-kernel/dist/session/resolve')
  shareModules(path.join(folder, 'kernel'))
  // After shareModules, as in the kernel: tslab takes its compiler as it stands when it is loaded.
  const { createConverter } = require('tslab/dist/converter') as typeof import('tslab/dist/converter')
  const { Language: Class } = require('fettle-kernel/dist/session/language') as { Language: typeof Language }
  const language = new Class(createConverter({ isJS: false, isBrowser: false }))
  let declared = ''
  let running: string | undefined
  const at = (marked: string) => ({ code: marked.replace('|', ''), position: toCodePoints(marked, marked.indexOf('|')) })
  const begin = (code: string) => {
    const { diagnostics, declOutput } = language.converter.convert(declared, code)
    running = declOutput
    return diagnostics.map(({ messageText }) => messageText)
  }
  const end = (ok: boolean) => {
    if (ok && running !== undefined) declared = running
    language.ended(ok)
  }
  return {
    begin, end,
    /** Forgets all cells. */
    reset(): void { declared = '' },
    /** Findings of the compiler on a cell that is not run. */
    check(code: string): string[] {
      const findings = begin(code)
      end(false)
      return findings
    },
    run(code: string): void {
      const findings = begin(code)
      if (findings.length > 0) throw new Error(findings.join('\n'))
      end(true)
    },
    complete(marked: string) {
      const { code, position } = at(marked)
      const { matches, cursor_start, cursor_end, metadata } = language.complete(code, position)
      const [start, stop] = [fromCodePoints(code, cursor_start), fromCodePoints(code, cursor_end)]
      return { matches: [...matches], types: metadata._jupyter_types_experimental.map(({ type }) => type), text: code.slice(0, start) + (matches[0] ?? '') + code.slice(stop) }
    },
    inspect(marked: string) {
      const { code, position } = at(marked)
      const { data } = language.inspect(code, position)
      return { plain: data['text/plain'] ?? '', markdown: data['text/markdown'] ?? '' }
    },
    close: () => language.converter.close(),
  }
}
