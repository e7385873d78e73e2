import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { repoRoot } from './paths'

export const fettleBin = path.join(repoRoot, 'sdk', 'bin', 'fettle.js')
export const environmentModule = path.join(repoRoot, 'sdk', 'dist', 'parallel', 'launch', 'environment.js')

/** A program that prints the rank that it finds itself to be, with its folder and its arguments, as one line of JSON. `more` comes first. */
export function writeProbe(folder: string, more = ''): string {
  const file = path.join(folder, 'probe.js')
  fs.writeFileSync(file, `const { rankFromEnvironment } = require(${JSON.stringify(environmentModule)})
const rank = rankFromEnvironment(process.env)
${more}
console.log(JSON.stringify({ rank, cwd: process.cwd(), words: process.argv.slice(2), token: process.env.TOKEN, threads: process.env.OMP_NUM_THREADS }))
`)
  return file
}

/** The test double of ssh: a program of that name that runs the command here, and keeps what it was given in `calls`. */
export function fakeSsh(folder: string): { env: Record<string, string>; calls: () => string[][] } {
  const bin = path.join(folder, 'bin'), log = path.join(folder, 'calls')
  fs.mkdirSync(bin)
  fs.writeFileSync(path.join(bin, 'ssh'), `#!${process.execPath}
const fs = require('fs'), { spawn } = require('child_process')
const words = process.argv.slice(2)
fs.appendFileSync(${JSON.stringify(log)}, JSON.stringify(words) + '\\n')
// As sshd does: the login shell gets the last word, in a session of its own and an environment that is not the caller's.
const child = spawn('/bin/sh', ['-c', words.at(-1)], { stdio: 'inherit', env: { PATH: process.env.PATH, HOME: '/' }, detached: true })
child.on('exit', (code, signal) => process.exit(code ?? 255))
`, { mode: 0o755 })
  return { env: { PATH: `${bin}:${process.env.PATH}` }, calls: () => fs.readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as string[]) }
}

/** Environment of a process that no launcher started, whatever started the tests. */
export function plainEnvironment(more: Record<string, string> = {}): Record<string, string> {
  const { PATH = '', HOME = '/' } = process.env
  return { PATH, HOME, ...more }
}

export interface Ended { code: number | null; stdout: string; stderr: string; ms: number }

/** Runs `fettle` to its end. `when` gets each new piece of its output, and its process. */
export function fettle(args: readonly string[], env: Record<string, string> = plainEnvironment(), when?: (output: string, pid: number) => void): Promise<Ended> {
  const started = Date.now(), child = spawn(process.execPath, [fettleBin, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = '', stderr = ''
  child.stdout.on('data', (data) => { stdout += data; when?.(stdout, child.pid!) })
  child.stderr.on('data', (data) => { stderr += data })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr, ms: Date.now() - started })))
}

/** Lines of JSON that ranks printed, by the mark in front of them. */
export function byRank(stdout: string): Record<string, any> {
  return Object.fromEntries(stdout.trim().split('\n').map((line) => {
    const [, label, json] = /^\[([^\]]+)\] (.*)$/.exec(line)!
    return [label, JSON.parse(json)]
  }))
}
