import * as path from 'node:path'

/** Root of the checkout, from tests/dist/support. */
export const repoRoot = path.resolve(__dirname, '..', '..', '..')

/** A path under tests/fixtures. */
export function fixture(...parts: string[]): string {
  return path.join(repoRoot, 'tests', 'fixtures', ...parts)
}
