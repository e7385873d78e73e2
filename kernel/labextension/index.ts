import type { ToPage } from '../session/lab-protocol'

export type { ToPage }
