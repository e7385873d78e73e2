import type { RankOf } from '../models/share'

/** A data rank's share of a micro-batch: ranks take its rows or packs as evenly as they go, in order. */
export function ownUnits<T>(units: readonly T[], { index, count }: RankOf): T[] {
  return units.slice(Math.floor((units.length * index) / count), Math.floor((units.length * (index + 1)) / count))
}

/**
 * Cuts a step's rows or packs, in order, into micro-batches of which no rank's share holds more than `limit` tokens. A row that is
 * longer stands alone. Loss and gradient of the step do not depend on where it is cut: what changes is memory and time.
 * @param tokens of a row or pack
 * @param ranks that share each micro-batch: it has a row for each of them, where there are so many
 */
export function cutByTokens<T>(units: readonly T[], tokens: (unit: T) => number, limit: number, ranks: number): T[][] {
  const micros: T[][] = []
  let open: T[] = [], sum = 0
  for (const unit of units) {
    sum += tokens(unit)
    if (open.length >= ranks && !(ranks === 1 ? sum <= limit : evenlyWithin([...open, unit], tokens, limit, ranks))) {
      micros.push(open)
      open = []
      sum = tokens(unit)
    }
    open.push(unit)
  }
  return open.length === 0 ? micros : [...micros, open]
}

/** No rank's share is above the limit, but for a single long row. */
function evenlyWithin<T>(micro: readonly T[], tokens: (unit: T) => number, limit: number, ranks: number): boolean {
  return Array.from({ length: ranks }, (_, index) => ownUnits(micro, { index, count: ranks })).every((own) => own.length < 2 || own.reduce((sum, unit) => sum + tokens(unit), 0) <= limit)
}
