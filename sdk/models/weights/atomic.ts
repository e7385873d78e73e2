import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { ModelError } from '../../errors'

/** Writes JSON to a temporary file, syncs and renames it. */
export function writeJsonAtomically(path: string, value: unknown): void {
  atomically(path, fd => writeAll(fd, Buffer.from(JSON.stringify(value, null, 2) + '\n')))
}

/** Writes text to a temporary file, syncs and renames it. */
export function writeTextAtomically(path: string, text: string): void {
  atomically(path, fd => writeFileSync(fd, text))
}

/** Lets `write` fill a temporary file beside `path`, syncs it and renames it. @throws ModelError `model.write` */
export function atomically(path: string, write: (fd: number) => void): void {
  const temporary = `${path}.${process.pid}.tmp`
  let fd: number | undefined
  try {
    mkdirSync(dirname(path), { recursive: true })
    fd = openSync(temporary, 'w')
    write(fd)
    fsyncSync(fd)
    renameSync(temporary, path)
    closeSync(fd)
    fd = undefined
    syncFolder(dirname(path))
  } catch (cause) {
    if (fd !== undefined) {
      closeSync(fd)
      rmSync(temporary, { force: true })
    }
    throw writeError(path, cause)
  }
}

/** A rename is on disk only when its folder is. Some file systems refuse to sync a folder; the file itself is safe by then. */
function syncFolder(folder: string): void {
  let fd: number | undefined
  try {
    fd = openSync(folder, 'r')
    fsyncSync(fd)
  } catch (error) {
    if (!['EINVAL', 'EPERM', 'EISDIR', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

function writeError(path: string, cause: unknown): unknown {
  const remedies: Record<string, string> = {
    ENOSPC: 'free some space or choose another folder', EDQUOT: 'your quota is used up: free some space or choose another folder',
    EACCES: 'choose a folder that you may write to', EROFS: 'choose a folder that you may write to', EPERM: 'choose a folder that you may write to',
    EEXIST: 'a part of the path is a file: choose another folder', ENOTDIR: 'a part of the path is a file: choose another folder', EISDIR: 'a folder has this name: choose another',
  }
  const code = (cause as NodeJS.ErrnoException).code ?? ''
  const remedy = remedies[code]
  return remedy ? new ModelError('model.write', `${path}: cannot be written (${code}); ${remedy}`, { path, errno: code }, { cause }) : cause
}

/** Writes all bytes; one call of the system may write fewer. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, Math.min(bytes.length - at, 1 << 30))
}
