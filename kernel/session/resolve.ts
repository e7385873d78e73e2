import Module from 'node:module'
import path from 'node:path'
import type * as typescript from '@tslab/typescript-for-tslab'

/** Folders named node_modules above `from`, nearest first. */
function moduleFolders(from: string): string[] {
  const folders: string[] = []
  for (let folder = from; ; folder = path.dirname(folder)) {
    if (path.basename(folder) !== 'node_modules') folders.push(path.join(folder, 'node_modules'))
    if (path.dirname(folder) === folder) return folders
  }
}

/**
 * Lets a notebook in any folder import what this kernel was installed with (`fettle`, `apache-arrow`, …), both when
 * TypeScript checks a cell and when it runs. A package that the notebook's own folder has wins.
 */
export function shareModules(home: string): void {
  const internals = Module as unknown as { _initPaths(): void }
  process.env.NODE_PATH = [...(process.env.NODE_PATH ?? '').split(path.delimiter), ...moduleFolders(home)].filter(Boolean).join(path.delimiter)
  internals._initPaths()
  shareTypes(path.join(home, 'notebook.ts'))
}

/** tslab makes its compiler host in one call; the host's own resolution is tried first, then the kernel's folder. */
function shareTypes(anchor: string): void {
  const near = Module.createRequire(require.resolve('tslab/package.json'))
  const name = '@tslab/typescript-for-tslab'
  const ts = near(name) as typeof typescript
  const create = ts.createWatchCompilerHost as unknown as (...args: unknown[]) => typescript.WatchCompilerHostOfFilesAndCompilerOptions<typescript.BuilderProgram>
  const createWatchCompilerHost = (files: unknown, options: typescript.CompilerOptions, ...rest: unknown[]) => {
    // Only Node's types: a checkout may hold dozens of @types packages that no cell asked for.
    const host = create(files, { ...options, types: ['node'] }, ...rest)
    const cache = ts.createModuleResolutionCache(process.cwd(), (file) => file, options)
    host.resolveModuleNameLiterals = (literals, containing, redirected, settings) => literals.map(({ text }) => {
      const found = ts.resolveModuleName(text, containing, settings, host, cache, redirected)
      if (found.resolvedModule || /^[./]/.test(text)) return found
      return ts.resolveModuleName(text, anchor, settings, host, cache, redirected)
    })
    return host
  }
  // The library's exports are read-only getters, so the module that tslab will require is replaced by a copy.
  const entry = require.cache[near.resolve(name)]
  if (entry) entry.exports = { ...ts, createWatchCompilerHost }
}
