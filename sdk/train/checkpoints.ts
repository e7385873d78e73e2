import * as fs from 'node:fs'
import * as path from 'node:path'
import { CheckpointError } from '../errors'
import { manifestName, readManifest, verifyManifest, type Manifest } from './manifest'

/** A checkpoint of an output folder. `manifest` is not yet verified against the files. */
export interface CheckpointEntry { readonly folder: string; readonly step: number; readonly manifest: Manifest }

/** Takes a warning of code and message; the worker turns it into an event. */
export type Warn = (code: string, message: string) => void

/** Folder of the checkpoint of `step`. */
export function checkpointFolder(output: string, step: number): string {
  return path.join(output, `checkpoint-${step}`)
}

/** Checkpoints of an output folder that have a readable manifest, the one written last first. */
export function listCheckpoints(output: string): CheckpointEntry[] {
  return candidates(output).flatMap((folder) => {
    try {
      const manifest = readManifest(folder)
      return [{ folder, step: manifest.step, manifest }]
    } catch {
      return [] // without a readable manifest it is no checkpoint; findCheckpoint says so to the user
    }
  }).sort((a, b) => b.manifest.time - a.manifest.time || b.step - a.step)
}

/**
 * The checkpoint that a resume starts from, verified file by file. `resume` is a checkpoint, an output folder, or `true`
 * for `output` itself; of a folder the newest whole checkpoint is taken, with a warning for each newer one that is broken.
 */
export async function findCheckpoint(output: string, resume: string | true, warn: Warn): Promise<CheckpointEntry> {
  const root = resume === true ? output : resume
  if (resume !== true && (fs.existsSync(path.join(root, manifestName)) || /checkpoint-\d+\/?$/.test(root))) {
    const manifest = await verifyManifest(root)
    return { folder: root, step: manifest.step, manifest }
  }
  let first: unknown
  for (const folder of candidates(root)) {
    try {
      readManifest(folder)
    } catch (error) {
      first ??= error
      warn('checkpoint.broken', `${(error as Error).message} It is passed over.`)
    }
  }
  for (const entry of listCheckpoints(root)) {
    try {
      await verifyManifest(entry.folder)
      return entry
    } catch (error) {
      first ??= error
      warn('checkpoint.broken', `${(error as Error).message} It is passed over.`)
    }
  }
  if (first !== undefined) throw first
  throw new CheckpointError('checkpoint.missing', `expected a checkpoint in ${root}, found none; start without resume, or give the path of a checkpoint-N folder.`, { folder: root })
}

/** Deletes the checkpoints written longest ago until `keep` are left. The newest always stays, and so does that of step `best`. */
export function pruneCheckpoints(output: string, keep: number | null, best: number | null = null): string[] {
  if (keep === null) return []
  const [newest, ...rest] = listCheckpoints(output)
  if (newest === undefined) return []
  const kept = rest.some(({ step }) => step === best) ? 2 : 1
  const old = rest.filter(({ step }) => step !== best).slice(Math.max(0, keep - kept)).map((entry) => entry.folder)
  for (const folder of old) {
    // The manifest goes first: a delete that is cut short must not leave something that looks whole.
    fs.rmSync(path.join(folder, manifestName), { force: true })
    fs.rmSync(folder, { recursive: true, force: true })
  }
  return old
}

function candidates(output: string): string[] {
  if (!fs.existsSync(output)) return []
  return fs.readdirSync(output, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^checkpoint-\d+$/.test(entry.name))
    .map((entry) => path.join(output, entry.name))
}
