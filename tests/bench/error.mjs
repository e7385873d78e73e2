// Errors of the bench: Fettle's own classes, so that a reader sees a code, the values and a next step.
import { createRequire } from 'node:module'

export const { EnvironmentError, PlanError, TrainingError } = createRequire(import.meta.url)('fettle/dist/errors')
