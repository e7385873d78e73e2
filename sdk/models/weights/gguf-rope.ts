import { ModelError } from '../../errors'

/**
 * Llama 3's rotary scaling, found again from the divisors that llama.cpp stores for each frequency.
 *
 * The divisor of a frequency with wavelength w is 1 where w is short, `factor` where it is long, and in between
 * 1 / ((1 − s)/factor + s) with s = (original/w − low)/(high − low). Only two of low, high and original are free
 * (multiplying all three changes nothing), so low is 1, as in every published model, and the other two follow from
 * the in-between divisors: s is a straight line over 1/w.
 * @throws ModelError `model.ropeScaling` when the divisors are not of this form
 */
export function llama3Scaling(factors: Float32Array, theta: number, headDim: number, original = 8192): Record<string, unknown> | null {
  const factor = rounded(Math.max(...factors))
  if (factor === 1) return null
  const inverse = Array.from(factors, (_, i) => theta ** (-2 * i / headDim) / (2 * Math.PI))
  const between = [...factors].map((f, i) => ({ x: inverse[i], s: (1 / f - 1 / factor) / (1 - 1 / factor) })).filter(p => p.s > 1e-3 && p.s < 1 - 1e-3)
  let high = 4
  if (between.length >= 2) {
    const [a, b] = [between[0], between[between.length - 1]]
    const slope = (a.s - b.s) / (a.x - b.x)
    // s = (original·x − 1)/(high − 1): the value at x = 0 gives high, the slope gives original.
    high = rounded(1 + 1 / (slope * a.x - a.s))
    original = Math.round(slope * (high - 1))
  } else if (between.length === 1) {
    original = Math.round((between[0].s * (high - 1) + 1) / between[0].x)
  }
  const again = inverse.map(x => 1 / mix(Math.min(1, Math.max(0, (original * x - 1) / (high - 1))), factor))
  const worst = Math.max(...again.map((f, i) => Math.abs(f - factors[i]) / factors[i]))
  if (!(worst < 1e-3)) {
    throw new ModelError('model.ropeScaling', `rope_freqs.weight has divisors [${[...factors].map(f => f.toPrecision(4))}], which are not Llama 3's scaling; use the model's Hugging Face folder`,
      { factors: [...factors], worst })
  }
  return { rope_type: 'llama3', factor, low_freq_factor: 1, high_freq_factor: high, original_max_position_embeddings: original }
}

function mix(s: number, factor: number): number {
  return (1 - s) / factor + s
}

/** Divisors are fp32: the parameters behind them are short decimals. */
function rounded(value: number): number {
  return Number(value.toPrecision(4))
}
