/** What `resolveModel` tells while it works. Bytes are of all files together. */
export interface ModelProgress {
  /** What is being done: waiting for another process that downloads, listing files, downloading, checking sums, unpacking. */
  readonly stage: 'wait' | 'list' | 'download' | 'verify' | 'unpack'
  /** The file at hand. */
  readonly file?: string
  /** Bytes so far. */
  readonly received: number
  /** Undefined while the size is not known. */
  readonly total?: number
  /** One line for a log. */
  readonly message: string
}

export type OnProgress = (progress: ModelProgress) => void

/** Bytes as a short decimal, such as `98.4 MB`. */
export function megabytes(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`
}
