/** Did the disk refuse, rather than the program fail? */
export function isDiskFull(error: unknown): boolean {
  for (let e = error as { code?: unknown; details?: { errno?: unknown }; cause?: unknown } | undefined; e; e = e.cause as typeof e) {
    if ([e.code, e.details?.errno].some((code) => code === 'ENOSPC' || code === 'EDQUOT')) return true
  }
  return false
}
