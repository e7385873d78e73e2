/** Numbers and spans of time as people read them: short, and the same everywhere (en-US grouping, no locale of the machine). */

/** 1234567 → `1,234,567`. */
export function whole(n: number): string {
  return Math.round(n).toLocaleString('en-US')
}

/** 134515008 → `135M`: three digits and a unit. */
export function short(n: number): string {
  for (const [unit, size] of [['T', 1e12], ['B', 1e9], ['M', 1e6], ['k', 1e3]] as const)
    if (Math.abs(n) >= size) return `${digits(n / size, 3)}${unit}`
  return digits(n, 3)
}

/** 4831838208 → `4.50 GiB`. */
export function gib(bytes: number): string { return `${(bytes / 2 ** 30).toFixed(bytes < 10 * 2 ** 30 ? 2 : 0)} GiB` }

/** `n` significant digits, without an exponent for the sizes that losses and rates have. */
export function digits(value: number, n: number): string {
  if (!Number.isFinite(value)) return String(value)
  if (value === 0) return '0'
  const magnitude = Math.floor(Math.log10(Math.abs(value)))
  if (magnitude < -4) return value.toExponential(n - 1)
  return value.toFixed(Math.max(0, n - 1 - magnitude))
}

/** 0.0001 → `1e-4`, 0.0003125 → `3.125e-4`: as one writes rates. */
export function rateText(rate: number): string {
  return rate !== 0 && Math.abs(rate) < 0.001 ? rate.toExponential().replace(/^(-?\d(?:\.\d{1,4})?)\d*e/, '$1e') : String(Number(digits(rate, 4)))
}

/** 0.9134 → `91.3%`. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`
}

/** 83000 → `1m 23s`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m ${String(seconds % 60).padStart(2, '0')}s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours}h ${String(minutes % 60).padStart(2, '0')}m` : `${Math.floor(hours / 24)}d ${hours % 24}h`
}

/** Text on one line, cut to `width` characters (code points, so that no emoji is cut in half). */
export function clip(text: string, width: number): string {
  const points = [...text.replace(/\s+/g, ' ').trim()]
  return points.length <= width ? points.join('') : `${points.slice(0, width - 1).join('')}…`
}

/** The start of a text, by code points, so that no character is cut in half; its lines stay. */
export function start(text: string, length = 600): string {
  if (text.length <= length) return text
  // Twice the length holds enough code points, and a text of megabytes is not spread out whole.
  const points = [...text.slice(0, 2 * length + 2)]
  return points.length <= length && text.length <= 2 * length ? text : `${points.slice(0, length - 1).join('')}…`
}
