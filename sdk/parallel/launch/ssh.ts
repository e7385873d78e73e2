import { splitWords } from './shell'

/** ssh that fails rather than asks, and that notices a machine that is gone. */
const usual = 'ssh -o BatchMode=yes -o ServerAliveInterval=15'

/** The words of the ssh that reaches other machines: as given, else as FETTLE_SSH says. `field` is where it was given. */
export function sshWords(given: string | undefined, field: string): string[] {
  if (given !== undefined) return splitWords(given, field)
  return splitWords(process.env.FETTLE_SSH || usual, 'FETTLE_SSH')
}
