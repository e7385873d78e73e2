export { Forecast, plan, type ForecastOptions } from './forecast'
export type { Candidate, FitChange, ForecastFacts, MemoryParts, TimeParts } from './types'
