import type { Command } from './command'
import { exitCodes } from './exit'
import { takePositionals } from './flags'
import { lazy } from './lazy'

export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'look the machine over: what was found, and what is wrong',
  usage: ['doctor [--json]'],
  flags: [],
  async run(parsed, terminal) {
    takePositionals(parsed, [], 'doctor')
    const { inspect, formatReport } = lazy.native()
    const report = inspect()
    terminal.out(`${parsed.values.json ? JSON.stringify(report) : formatReport(report)}\n`)
    return report.problems.some(({ fatal }) => fatal) ? exitCodes.environment : exitCodes.ok
  },
}
