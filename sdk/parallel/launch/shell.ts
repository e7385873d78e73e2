import { refusal } from '../../plan/refuse'

/** A word as a POSIX shell reads it: exactly these characters, whatever they are. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`
}

/** Words as one command of a POSIX shell. */
export function quoteAll(words: readonly string[]): string { return words.map(quote).join(' ') }

/** The words of a command that a person wrote, with '…' and "…" around what has spaces; nothing is expanded. */
export function splitWords(text: string, field: string, example = `${field} 'ssh -p 2222'`): string[] {
  const words = [...text.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g)].map(([word]) => word)
  const left = text.replace(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g, '').trim()
  if (words.length === 0 || left !== '') throw refusal(field, 'a command, each quote closed', text, example)
  return words.map((word) => word.replace(/'([^']*)'|"([^"]*)"/g, (_, single: string | undefined, double: string | undefined) => single ?? double ?? ''))
}

/** What the far end of ssh should run. */
export interface RemoteCommand {
  readonly cwd: string
  /** Variables that its command line shows. */
  readonly environment: Readonly<Record<string, string>>
  readonly words: readonly string[]
}

/** Seconds between SIGTERM and SIGKILL where the connection is lost. */
const orphanGrace = 60

/**
 * A command line for the shell that sshd starts, whichever it is. On its input it takes first a line of `exportLine`, then names of
 * signals, a line each, for the command; when the input ends, because ssh or its machine died, the command is ended. Its exit code is
 * the command's.
 */
export function remoteCommandLine({ cwd, environment, words }: RemoteCommand): string {
  const assignments = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const script = [
    'exec 3<&0', 'IFS= read -r e <&3', 'eval "$e"', `cd ${quote(cwd)} || exit 5`,
    `env ${quoteAll([...assignments, ...words])} 3<&- </dev/null & p=$!`,
    `{ while read -r s; do kill -"$s" $p; done; kill -TERM $p; sleep ${orphanGrace}; kill -KILL $p; } <&3 >/dev/null 2>&1 & w=$!`,
    'exec 3<&-', 'while :; do wait $p 2>/dev/null; c=$?; kill -0 $p 2>/dev/null || break; done', 'kill $w 2>/dev/null', 'exit $c',
  ].join('; ')
  return `exec sh -c ${quote(script)}`
}

/** Exit code of `plainCommandLine` where its folder is not there. */
export const noSuchFolder = 121

/** A command line for the same shell that runs a command as it is, with ssh's input and output; `cwd` null is where ssh begins. */
export function plainCommandLine(cwd: string | null, words: readonly string[]): string {
  return `exec sh -c ${quote(`${cwd === null ? '' : `cd ${quote(cwd)} || exit ${noSuchFolder}; `}exec ${quoteAll(words)}`)}`
}

/** Variables for the far end that no process list should show, as one line of its shell; their values have no line ends. */
export function exportLine(variables: Readonly<Record<string, string>>): string {
  return `${[':', ...Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}`)].join('; ')}\n`
}
