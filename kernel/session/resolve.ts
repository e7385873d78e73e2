import { existsSync, readFileSync, readdirSync } from 'node:fs'
import Module from 'node:module'
import path from 'node:path'
import type * as typescript from '@tslab/typescript-for-tslab'
import { createWatchProgram } from './compiler'
import { nameScripts, traceable } from './positions'

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
  shareTypes(typePaths(home, process.cwd()))
}

/** Packages in a node_modules folder, scoped ones included. */
function packagesIn(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder).filter((name) => !name.startsWith('.')).flatMap((name) =>
    name.startsWith('@') ? readdirSync(path.join(folder, name)).map((inner) => `${name}/${inner}`) : [name])
}

/** File of a package's types, by its package.json. */
function typesOf(folder: string): string | null {
  const file = path.join(folder, 'package.json')
  if (!existsSync(file)) return null
  const { types, typings, main = 'index.js' } = JSON.parse(readFileSync(file, 'utf8')) as { types?: string; typings?: string; main?: string }
  const entry = path.join(folder, types ?? typings ?? main.replace(/(\.[cm]?js)?$/, '.d.ts'))
  return existsSync(entry) ? entry : null
}

/**
 * Compiler `paths` for the packages that `home` has and `folder` has not. Paths, and not a second look-up when the first
 * fails, because the declarations that tslab keeps of each cell must name the types of these packages too.
 */
function typePaths(home: string, folder: string): Record<string, string[]> {
  const root = path.parse(home).root
  const near = moduleFolders(folder)
  const paths: Record<string, string[]> = {}
  for (const modules of moduleFolders(home)) for (const name of packagesIn(modules)) {
    if (name in paths || name.startsWith('@types/') || near.some((own) => existsSync(path.join(own, name)))) continue
    const types = typesOf(path.join(modules, name))
    if (!types) continue
    paths[name] = [path.relative(root, types)]
    paths[`${name}/*`] = [path.relative(root, path.join(modules, name, '*'))]
  }
  return paths
}

/** tslab makes its compiler host in one call, which is wrapped to add the paths. */
function shareTypes(paths: Record<string, string[]>): void {
  const near = Module.createRequire(require.resolve('tslab/package.json'))
  const name = '@tslab/typescript-for-tslab'
  const ts = near(name) as typeof typescript
  const create = ts.createWatchCompilerHost as unknown as (...args: unknown[]) => unknown
  const createWatchCompilerHost = (files: unknown, options: typescript.CompilerOptions, ...rest: unknown[]) =>
    // Only Node's types: a checkout may hold dozens of @types packages that no cell asked for. A map says which line of the
    // cell an error comes from.
    create(files, { ...options, inlineSourceMap: true, types: ['node'], paths, pathsBasePath: path.parse(process.cwd()).root }, ...rest)
  // The library's exports are read-only getters, so the module that tslab will require is replaced by a copy.
  const entry = require.cache[near.resolve(name)]
  if (entry) entry.exports = { ...ts, ...traceable(ts), createWatchCompilerHost, createWatchProgram }
  nameScripts()
}
