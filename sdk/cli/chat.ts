import { existsSync } from 'node:fs'
import * as path from 'node:path'
import { createInterface } from 'node:readline'
import { chat, type Chat, type ChatOptions, type ChatSide, type ChatTarget } from '../chat'
import { attach } from '../run/attach'
import { metricsName } from '../run/folder'
import type { Command } from './command'
import { exitCodes } from './exit'
import { takePositionals, type Parsed } from './flags'
import { drawing } from './generate'
import { modelFlags } from './model'
import { errorBlock, StatusLine, type Terminal } from './terminal'

export const chatCommand: Command = {
  name: 'chat',
  summary: 'talk to a model, to an adapter with its base beside it, or to a run',
  usage: ['chat MODEL', 'chat ADAPTER [--base MODEL]', 'chat RUN_DIR', 'chat MODEL --json < questions.txt'],
  flags: [
    { name: 'system', type: 'text', help: 'system message before the conversation' },
    { name: 'base', type: 'text', value: 'MODEL', help: 'the untouched model to compare with' },
    { name: 'sides', type: 'text', value: 'base|tuned', help: 'ask one side alone' },
    { name: 'max-new-tokens', type: 'number', value: 'N', help: 'most new tokens of an answer (256)', rule: 'generation.maxNewTokens' },
    ...drawing,
    ...modelFlags.filter(({ name }) => name !== 'blocks'),
  ],
  run: talk,
}

async function talk(parsed: Parsed, terminal: Terminal): Promise<number> {
  const [name] = takePositionals(parsed, ['MODEL'], 'chat')
  const target = await targetOf(name), line = new StatusLine(terminal)
  try {
    const opened = await chat(target, { ...optionsOf(parsed.values, typeof target !== 'string'), onProgress: ({ stage }) => line.show(stage, stage, stage) }).finally(() => line.clear())
    try {
      await converse(opened, parsed.values.json === true, terminal)
      return exitCodes.ok
    } finally { await opened.close() }
  } finally { if (typeof target !== 'string') target.close() }
}

/** A run that goes on, or whose worker still answers, is asked itself; else its folder's weights are. */
async function targetOf(name: string): Promise<string | Exclude<ChatTarget, string>> {
  if (!existsSync(path.join(name, metricsName))) return name
  const run = await attach(name)
  if (run.alive) return run
  run.close()
  return name
}

function optionsOf(values: Parsed['values'], live: boolean): ChatOptions {
  const given = {
    system: values.system, base: values.base, sides: values.sides === undefined ? undefined : [values.sides],
    maxNewTokens: values['max-new-tokens'], minNewTokens: values['min-new-tokens'], temperature: values.temperature,
    topK: values['top-k'], topP: values['top-p'], seed: values.seed,
    ...(live ? {} : { precision: values.dtype, device: values.device, threads: values.threads }),
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as ChatOptions
}

async function converse(opened: Chat, json: boolean, terminal: Terminal): Promise<void> {
  const person = process.stdin.isTTY === true
  const lines = createInterface({ input: process.stdin, output: person ? process.stderr : undefined, prompt: '> ', terminal: person })
  let answering = false
  const interrupt = (): void => { if (answering) void opened.cancel(); else lines.close() }
  lines.on('SIGINT', interrupt)
  process.on('SIGINT', interrupt)
  const prompt = (): void => { if (person) lines.prompt() }
  if (person) terminal.err('/clear forgets the conversation, /exit ends it; Ctrl-C ends an answer\n')
  try {
    prompt()
    for await (const text of lines) {
      if (text.trim() === '/exit') break
      if (text.trim() === '/clear') await opened.clear()
      else if (text.trim() !== '') {
        answering = true
        await ask(opened, text, json, terminal).catch((error: unknown) => {
          // A question that fails need not end the conversation.
          if (opened.state.status === 'closed') throw error
          terminal.err(errorBlock(error, terminal.debug))
        })
        answering = false
      }
      prompt()
    }
  } finally {
    process.off('SIGINT', interrupt)
    lines.close()
  }
}

async function ask(opened: Chat, text: string, json: boolean, terminal: Terminal): Promise<void> {
  let speaking: ChatSide | null = null
  const answer = await opened.ask(text, {
    onToken: (piece, side) => {
      if (json) return
      if (speaking !== side && opened.sides.length > 1) terminal.out(`${speaking === null ? '' : '\n'}${side}: `)
      speaking = side
      terminal.out(piece)
    },
  })
  terminal.out(json ? `${JSON.stringify(answer)}\n` : '\n')
  for (const note of answer.notes) terminal.err(`(${note})\n`)
}
