import { nothing } from '../figures'
import type { PlotFormat } from '../plots'
import { digits, percent, rateText, short, whole } from '../format'

/** A learning rate in three digits. */
export function rate(value: number): string {
  return rateText(Number(value.toPrecision(3)))
}

/** A number of a chart as its heading says it. */
export function written(value: number | null, format: PlotFormat): string {
  if (value === null) return nothing
  switch (format) {
    case 'rate': return rate(value)
    case 'percent': return percent(value)
    case 'count': return whole(value)
    case 'memory': return value >= 100_000 ? short(value) : whole(value)
    case 'number': return digits(value, 4)
  }
}

/** The same for the axis, in d3's words. */
export const axisFormats: Readonly<Record<PlotFormat, string>> = { rate: '~g', percent: '.0%', count: '~s', memory: '~s', number: '~g' }
export const hoverFormats: Readonly<Record<PlotFormat, string>> = { rate: '.3~g', percent: '.1%', count: ',.0f', memory: ',.0f', number: '.4~g' }
