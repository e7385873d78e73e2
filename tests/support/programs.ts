import * as fs from 'node:fs'
import * as path from 'node:path'

/** Path of a program, on PATH or where systems keep daemons; null where it is not installed. */
export function findProgram(name: string): string | null {
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin', '/sbin']
  return folders.map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file)) ?? null
}

/** For `skip` of a test: false where all programs are there, else which one is not. */
export function without(...names: readonly string[]): string | false {
  const missing = names.find((name) => findProgram(name) === null)
  return missing === undefined ? false : `${missing} is not installed`
}
