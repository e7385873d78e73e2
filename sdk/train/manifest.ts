import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { CheckpointError } from '../errors'

/** What `manifest.json` says of a checkpoint folder. It is written last: a folder without one is not a checkpoint. */
export interface Manifest {
  readonly version: 1
  readonly step: number
  /** When it was written, in ms since epoch: the newest checkpoint is the one written last. */
  readonly time: number
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>
}

/** Last file of a checkpoint to be written. */
export const manifestName = 'manifest.json'

/**
 * Writes a folder so that it is either whole or absent: `write` fills a temporary folder beside `target`, every file is
 * hashed and synced, the manifest comes last, and one rename shows the result. When anything fails the temporary folder
 * is removed and the error goes on; an older `target` stays until the new one is whole.
 */
export async function writeWhole(target: string, step: number, write: (folder: string) => void | Promise<void>): Promise<Manifest> {
  const parent = path.dirname(target)
  fs.mkdirSync(parent, { recursive: true })
  const temporary = path.join(parent, `.${path.basename(target)}.tmp-${process.pid}`)
  fs.rmSync(temporary, { recursive: true, force: true })
  try {
    fs.mkdirSync(temporary)
    await write(temporary)
    const files: Record<string, { bytes: number; sha256: string }> = {}
    for (const name of filesBelow(temporary)) files[name] = await hashAndSync(path.join(temporary, name))
    const manifest: Manifest = { version: 1, step, time: Date.now(), files }
    writeSynced(path.join(temporary, manifestName), `${JSON.stringify(manifest, null, 1)}\n`)
    syncFolder(temporary)
    replaceFolder(temporary, target)
    syncFolder(parent)
    return manifest
  } catch (error) {
    fs.rmSync(temporary, { recursive: true, force: true })
    throw error
  }
}

/** Checks every file of a checkpoint against its manifest; throws a CheckpointError that names the file. */
export async function verifyManifest(folder: string): Promise<Manifest> {
  const manifest = readManifest(folder)
  for (const [name, expected] of Object.entries(manifest.files)) {
    const file = path.join(folder, name)
    const bytes = fs.statSync(file, { throwIfNoEntry: false })?.size
    if (bytes === undefined) throw broken(file, 'is missing', { expected: expected.bytes })
    if (bytes !== expected.bytes) throw broken(file, `has ${bytes} bytes where its manifest says ${expected.bytes}`, { bytes, expected: expected.bytes })
    const sha256 = await hashFile(file)
    if (sha256 !== expected.sha256) throw broken(file, 'does not have the SHA-256 of its manifest', { sha256, expected: expected.sha256 })
  }
  return manifest
}

/** Reads `manifest.json` without touching the files that it lists. */
export function readManifest(folder: string): Manifest {
  const file = path.join(folder, manifestName)
  let parsed: Manifest
  try {
    parsed = JSON.parse(fs.readFileSync(file, 'utf8')) as Manifest
  } catch (cause) {
    throw broken(file, (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'is missing: the checkpoint was never finished' : 'is not readable JSON', {}, cause)
  }
  if (parsed.version !== 1 || typeof parsed.files !== 'object' || parsed.files === null) throw broken(file, 'is of an unknown version', { version: parsed.version })
  return parsed
}

/**
 * Puts aside what a killed save left behind: temporary folders go; an old checkpoint whose replacement never came
 * (killed between two renames) gets its name back.
 */
export function cleanLeftovers(output: string): void {
  if (!fs.existsSync(output)) return
  for (const name of fs.readdirSync(output)) {
    const match = /^\.(checkpoint-\d+)\.(tmp|old)-\d+$/.exec(name)
    if (!match) continue
    const target = path.join(output, match[1])
    if (match[2] === 'old' && !fs.existsSync(target)) fs.renameSync(path.join(output, name), target)
    else fs.rmSync(path.join(output, name), { recursive: true, force: true })
  }
}

/** Writes text and forces it to the disk. */
export function writeSynced(file: string, text: string): void {
  const descriptor = fs.openSync(file, 'w')
  try {
    fs.writeFileSync(descriptor, text)
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

function broken(file: string, what: string, details: Record<string, unknown>, cause?: unknown): CheckpointError {
  return new CheckpointError('checkpoint.broken', `${file} ${what}. Remove this checkpoint, or resume from an older one.`, { file, ...details }, { cause })
}

function filesBelow(folder: string, prefix = ''): string[] {
  return fs.readdirSync(path.join(folder, prefix), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(prefix, entry.name)
    return entry.isDirectory() ? filesBelow(folder, name) : [name]
  }).sort()
}

async function hashAndSync(file: string): Promise<{ bytes: number; sha256: string }> {
  const descriptor = fs.openSync(file, 'r+')
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
  return { bytes: fs.statSync(file).size, sha256: await hashFile(file) }
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of fs.createReadStream(file, { highWaterMark: 4 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

function replaceFolder(temporary: string, target: string): void {
  if (!fs.existsSync(target)) return fs.renameSync(temporary, target)
  const old = path.join(path.dirname(target), `.${path.basename(target)}.old-${process.pid}`)
  fs.renameSync(target, old)
  fs.renameSync(temporary, target)
  fs.rmSync(old, { recursive: true, force: true })
}

function syncFolder(folder: string): void {
  const descriptor = fs.openSync(folder, 'r')
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}
