import * as fs from 'node:fs'
import * as path from 'node:path'
import { startServer, type LocalServer } from 'fettle-kernel'
import { KernelClient } from 'fettle-kernel/dist/driver'

/** Writes a notebook of these code cells for the Fettle kernel and returns its path. */
export function notebookOf(folder: string, sources: readonly string[], name = 'test.ipynb'): string {
  const cells = sources.map((source, i) => ({ id: `cell-${i}`, cell_type: 'code', metadata: {}, source: source.split(/(?<=\n)/), execution_count: null, outputs: [] }))
  const metadata = { kernelspec: { name: 'fettle', display_name: 'Fettle (TypeScript)', language: 'typescript' } }
  const file = path.join(folder, name)
  fs.writeFileSync(file, JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }))
  return file
}

/** A message on iopub: type and content. */
export interface Heard { readonly parent: string; readonly type: string; readonly content: Record<string, any> }

/** What a cell answered. */
export interface Answer { readonly content: Record<string, any>; readonly heard: readonly Heard[] }

/** A kernel on a server of its own, with all that it said. */
export class TestKernel {
  readonly heard: Heard[] = []
  private cells = 0

  private constructor(readonly server: LocalServer, readonly client: KernelClient) {
    client.onOutput((parent, message) => this.heard.push({ parent, type: message.header.msg_type, content: message.content as Record<string, any> }))
  }

  static async start(root: string): Promise<TestKernel> { return TestKernel.on(await startServer({ root })) }

  /** One more kernel on a server that runs. */
  static async on(server: LocalServer): Promise<TestKernel> { return new TestKernel(server, await KernelClient.start(server, 'fettle', '')) }

  /** Sends a cell without waiting. */
  send(code: string): { readonly id: string; readonly answer: Promise<Answer> } {
    const { id, reply } = this.client.execute(code, `cell-${this.cells++}`)
    return { id, answer: reply.then((message) => ({ content: message.content as Record<string, any>, heard: this.of(id) })) }
  }

  run(code: string): Promise<Answer> { return this.send(code).answer }

  of(id: string): Heard[] { return this.heard.filter((message) => message.parent === id) }

  /** Waits until a message that fits was heard. */
  async until(fits: (message: Heard) => boolean, ms = 120_000): Promise<Heard> {
    for (const end = Date.now() + ms; Date.now() < end;) {
      const found = this.heard.find(fits)
      if (found) return found
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`no such message within ${ms} ms; the last: ${JSON.stringify(this.heard.slice(-3)).slice(0, 800)}`)
  }

  async close(): Promise<void> {
    await this.client.shutdown()
    await this.server.stop()
  }
}

/** The text of a result or a stream. */
export function textOf(answer: Answer): string {
  return answer.heard.map(({ type, content }) => type === 'stream' ? content.text : type === 'execute_result' ? `${content.data['text/plain']}\n` : '').join('')
}

/** Whether a process lives. */
export function lives(pid: number): boolean {
  try { process.kill(pid, 0) } catch { return false }
  // A zombie that init has not reaped yet is as good as gone.
  try { return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) } catch { return false }
}

/** Waits until a process is gone. */
export async function gone(pid: number, ms: number): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) if (!lives(pid)) return true
  return !lives(pid)
}
