import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { WorkerError } from '../../errors'
import { aiStudioVariable, huggingFaceVariable } from '../../models/hub/endpoint'
import { fettleProgram } from '../../parallel/launch/commands'
import { parseHosts } from '../../parallel/launch/hosts'
import { parseArguments } from '../../plan/arguments'
import { readControl } from '../control'
import { logTail } from '../death'
import { launchLogName, metricsName, prepareFolder } from '../folder'
import { isTurn, newest, readLog } from '../read-log'
import { checkPlan } from '../start'
import { probe } from './connection'
import { readReach } from './options'
import type { StartOrder } from './protocol'

/** The run's argument file, in its output folder. */
const argumentsName = 'launch.json'

/**
 * On the first of some hosts: starts the ranks on all of them, by a `fettle launch` that outlives this process and its
 * connection, and gives the output folder once the first rank is up.
 * @throws what `start()` throws for a plan that cannot run here; EnvironmentError for another host that cannot be reached or has
 * no Fettle; WorkerError `launch.failed`, `launch.timeout`
 */
export async function begin(order: StartOrder): Promise<string> {
  const { hosts, program, master, port, tokens, timeout } = order
  const plan = checkPlan(parseArguments(order.arguments).plan, tokens)
  const reach = { ...readReach({ program }, '.start()'), cwd: process.cwd() }
  await Promise.all(parseHosts(hosts).slice(1).map(({ target }) => probe(target, reach)))
  const dir = prepareFolder(plan), file = path.join(dir, argumentsName), log = path.join(dir, launchLogName), since = Date.now()
  fs.writeFileSync(file, `${JSON.stringify(order.arguments, null, 2)}\n`)
  const secrets = Object.entries({ [huggingFaceVariable]: tokens.huggingface, [aiStudioVariable]: tokens.aistudio }).filter((entry): entry is [string, string] => entry[1] !== undefined)
  const flags = { program, master, port, env: secrets.length === 0 ? undefined : secrets.map(([name]) => name).join() }
  const words = ['launch', '--here', '--hosts', hosts, ...Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)])), '--', 'run', file]
  await up(dir, since, timeout, log, launch(words, log, Object.fromEntries(secrets)))
  return dir
}

interface Launched { readonly pid: number | undefined; code: number | null }

/** In a session of its own, with a file for its output: nothing that happens to the connection reaches it. */
function launch(words: readonly string[], log: string, secrets: NodeJS.ProcessEnv): Launched {
  const fd = fs.openSync(log, 'w', 0o600), [program, ...args] = fettleProgram
  try {
    const child = spawn(program, [...args, ...words], { detached: true, stdio: ['ignore', fd, fd], env: { ...process.env, ...secrets } })
    const launched: Launched = { pid: child.pid, code: null }
    child.on('error', () => { launched.code = -1 }).on('exit', (code) => { launched.code = code ?? -1 })
    child.unref()
    return launched
  } finally { fs.closeSync(fd) }
}

/** Waits until the first rank tells where it is. */
async function up(dir: string, since: number, timeout: number, log: string, launched: Launched): Promise<void> {
  const isUp = (): boolean => (readControl(dir)?.time ?? 0) >= since || (newest(readLog(path.join(dir, metricsName)), isTurn)?.time ?? 0) >= since
  while (!isUp()) {
    const { code, pid } = launched
    if (code !== null && !isUp()) throw new WorkerError('launch.failed', `the ranks ended with code ${code} before the run was up${logTail(log)}`, { exitCode: code, dir, log })
    if (Date.now() > since + timeout) {
      if (pid !== undefined) process.kill(pid, 'SIGTERM')
      throw new WorkerError('launch.timeout', `the first rank was not up within ${timeout / 1000} s, and all were asked to end; try a longer startTimeout${logTail(log)}`, { timeout, dir, log })
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
