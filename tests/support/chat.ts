import * as fs from 'node:fs'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import { chat, sft, type Chat, type ChatOptions, type ChatTarget, type Run, type Sft } from 'fettle'
import { temporaryFolder, tinyData, tinyModel } from './tiny'

const template = "{% for m in messages %}<s>{{ m.role[0] }}:{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>a:{% endif %}"

/** The tiny model with a chat template, in a folder of its own. */
export function chatModel(folder: string): string {
  const model = tinyModel(path.join(folder, 'model'))
  fs.writeFileSync(path.join(model, 'chat_template.jinja'), template)
  return model
}

/** What the template makes of a conversation that ends with a question. */
export function rendered(...texts: readonly string[]): string {
  return `${texts.map((text, i) => `<s>${i % 2 === 0 ? 'u' : 'a'}:${text}</s>`).join('')}<s>a:`
}

/** A run on it that changes its answers within a few steps. */
export function chatRun(folder: string, steps: number): Sft {
  return sft(chatModel(folder)).data(tinyData(path.join(folder, 'data')), { maxLength: 64 })
    .steps(steps).batch(2).learningRate(2e-2).schedule('constant').save({ each: 'never' }).threads(1).output(path.join(folder, 'out'))
}

/** A run that is over, whose worker answers until the test ends. */
export async function finished(t: TestContext, run: Run): Promise<Run> {
  t.after(async () => { run.kill(); await run.close() })
  await run.done
  return run
}

/** A chat that closes when the test ends. */
export async function chatting(t: TestContext, target: ChatTarget, options: ChatOptions = {}): Promise<Chat> {
  const opened = await chat(target, { maxNewTokens: 12, ...(typeof target === 'string' ? { threads: 1 } : {}), ...options })
  t.after(() => opened.close())
  return opened
}

/** Worker processes that this process started and that live. */
export function workers(): number[] {
  return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      const parent = Number(/\) \S (\d+)/.exec(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1])
      return parent === process.pid && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker.js')
    } catch { return false }
  })
}

export { temporaryFolder }
