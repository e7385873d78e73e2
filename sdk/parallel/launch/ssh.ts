import { splitWords } from './shell'

/** ssh that fails rather than asks, and that notices a machine that is gone. */
const usual = 'ssh -o BatchMode=yes -o ServerAliveInterval=15'

/** The words of the ssh that reaches other machines: as given, else as FETTLE_SSH says. `field` is where it was given, and `example` how. */
export function sshWords(given: string | undefined, field: string, example?: string): string[] {
  if (given !== undefined) return splitWords(given, field, example)
  return splitWords(process.env.FETTLE_SSH || usual, 'FETTLE_SSH', "FETTLE_SSH='ssh -p 2222'")
}
