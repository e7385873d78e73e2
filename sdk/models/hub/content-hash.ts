import { createHash, type Hash } from 'node:crypto'

/** How the content of a file is known to be right. */
export interface ExpectedHash {
  /**
   * `sha256` and `md5` are of the content. `git` is the name that a Git tree gives the file: the SHA-1 of its content as a
   * blob, or of the pointer that stands for it in Git LFS.
   */
  readonly kind: 'sha256' | 'md5' | 'git'
  readonly hex: string
}

/** Hashes a file's content as it comes. */
export class ContentHash {
  private readonly hash: Hash
  private readonly large = createHash('sha256')

  constructor(private readonly size: number, private readonly expected: ExpectedHash | undefined) {
    const kind = expected?.kind
    this.hash = kind === 'git' ? blob(size) : createHash(kind ?? 'sha256')
  }

  update(chunk: Uint8Array): void {
    this.hash.update(chunk)
    if (this.expected?.kind === 'git') this.large.update(chunk)
  }

  /** What the content is called: as expected, where that is one of its names. To be asked once. */
  name(): string {
    const seen = this.hash.digest('hex')
    if (this.expected?.kind !== 'git' || seen === this.expected.hex) return seen
    const pointer = lfsPointer(this.large.digest('hex'), this.size)
    return blob(pointer.length).update(pointer).digest('hex') === this.expected.hex ? this.expected.hex : seen
  }
}

/** The text that Git keeps instead of a large file (git-lfs, docs/spec.md). */
export function lfsPointer(sha256: string, size: number): string {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`
}

function blob(size: number): Hash { return createHash('sha1').update(`blob ${size}\0`) }
