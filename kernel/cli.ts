import { existsSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { EnvironmentError, FettleError } from 'fettle/dist/errors'
import { runNotebook, type OutputChange } from './driver'
import { foldersAt, install, isOurs, remove, type Place } from './spec'

const usage = `fettle-kernel: the Fettle TypeScript kernel for Jupyter

  fettle-kernel install [--user | --sys-prefix | --prefix DIR]   put kernel and lab extension where Jupyter finds them (default: --user)
  fettle-kernel remove  [--user | --sys-prefix | --prefix DIR]   take both out again
  fettle-kernel list                                             where they are installed
  fettle-kernel run NOTEBOOK [--output FILE] [--timeout SECONDS] [--param name=json …] [--server URL --token TOKEN]
                    [--folder DIR] [--kernel NAME] [--allow-errors]
                                                                 run a notebook without a browser, save it with its outputs

Exit codes: 0 done, 1 failed (a cell's error, no Jupyter), 2 wrong arguments.`

const options = {
  user: { type: 'boolean' }, 'sys-prefix': { type: 'boolean' }, prefix: { type: 'string' },
  output: { type: 'string' }, timeout: { type: 'string' }, param: { type: 'string', multiple: true },
  server: { type: 'string' }, folder: { type: 'string' }, kernel: { type: 'string' }, 'allow-errors': { type: 'boolean' }, token: { type: 'string' }, help: { type: 'boolean', short: 'h' },
} as const

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values']

function usageError(message: string): FettleError {
  return new FettleError('kernel.usage', `${message}; see: npx fettle-kernel --help`)
}

function placeOf(values: Values): Place {
  const asked = [values.user, values['sys-prefix'], values.prefix].filter((value) => value !== undefined)
  if (asked.length > 1) throw usageError('expected one of --user, --sys-prefix and --prefix, got several')
  if (values.prefix !== undefined) return { prefix: values.prefix }
  return values['sys-prefix'] ? { sysPrefix: true } : { user: true }
}

function parametersOf(values: Values): Record<string, unknown> {
  return Object.fromEntries((values.param ?? []).map((text) => {
    const [, name, json] = /^(\w+)=(.*)$/s.exec(text) ?? []
    if (name === undefined) throw usageError(`expected name=json for --param, got ${text}`)
    try { return [name, JSON.parse(json)] } catch { return [name, json] }
  }))
}

/** Shows text outputs on the terminal as they come; rich ones by their text form, once. */
function printOutput({ output, update }: OutputChange): void {
  if (output.output_type === 'stream') (output.name === 'stderr' ? process.stderr : process.stdout).write(output.text)
  else if (output.output_type !== 'error' && !update) {
    const text = output.data['text/plain']
    if (typeof text === 'string' && text !== '') process.stdout.write(`${text}\n`)
  }
}

async function runCommand(notebook: string | undefined, values: Values): Promise<void> {
  if (notebook === undefined) throw usageError('expected a notebook to run, got none')
  const seconds = values.timeout === undefined ? undefined : Number(values.timeout)
  if (seconds !== undefined && !(seconds > 0)) throw usageError(`expected seconds above 0 for --timeout, got ${values.timeout}`)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  await runNotebook(notebook, {
    output: values.output, server: values.server, token: values.token, folder: values.folder, kernel: values.kernel, allowErrors: values['allow-errors'], parameters: parametersOf(values), onOutput: printOutput, signal: stop.signal,
    ...(seconds === undefined ? {} : { timeout: seconds * 1000 }),
  })
  console.log(`saved ${path.resolve(values.output ?? notebook)}`)
}

function list(values: Values): void {
  const places: [string, Place][] = values.prefix !== undefined ? [[values.prefix, { prefix: values.prefix }]] : [['user', { user: true }], ['sys-prefix', { sysPrefix: true }]]
  let found = 0
  for (const [name, place] of places) {
    let folders
    try { folders = foldersAt(place) } catch (error) { if (error instanceof EnvironmentError) continue; throw error }
    for (const [part, folder] of [['kernel', folders.kernel], ['lab extension', folders.extension]]) {
      if (!existsSync(folder)) continue
      found++
      console.log(`${name}: ${part} in ${folder}${isOurs(folder) ? '' : ' (not Fettle\'s)'}`)
    }
  }
  if (found === 0) console.log('not installed; put it in place with: npx fettle-kernel install')
}

function installCommand(place: Place): void {
  const { kernel, extension } = install(place)
  console.log(`installed the kernel "fettle" in ${kernel}\nand the lab extension in ${extension}`)
}

function removeCommand(place: Place): void {
  const gone = remove(place)
  console.log(gone.length > 0 ? `removed ${gone.join('\nand ')}` : 'neither kernel nor lab extension there: nothing to remove')
}

async function dispatch(args: readonly string[]): Promise<void> {
  let parsed
  try { parsed = parseArgs({ args: [...args], options, allowPositionals: true }) } catch (error) { throw usageError((error as Error).message) }
  const { values, positionals: [command, ...rest] } = parsed
  if (values.help || command === undefined || command === 'help') return console.log(usage)
  if (command === 'run') return runCommand(rest[0], values)
  if (command === 'list') return list(values)
  if (command === 'install') return installCommand(placeOf(values))
  if (command === 'remove') return removeCommand(placeOf(values))
  throw usageError(`expected install, remove, list or run, got ${command}`)
}

/** Entry of the command `fettle-kernel`. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    await dispatch(args)
  } catch (error) {
    if (!(error instanceof FettleError)) throw error
    console.error(error.message)
    process.exitCode = error.code === 'kernel.usage' ? 2 : 1
  }
}
