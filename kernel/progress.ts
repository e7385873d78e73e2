import type { OutputChange } from './driver'

/** Shows a notebook's run on a terminal: what cells print, and a run's progress as one line that moves; where output is
 * piped, a plain line each ten seconds. */
export class NotebookProgress {
  private width = 0
  private shown = 0
  private last = ''

  constructor(private readonly out: NodeJS.WriteStream = process.stdout) {}

  take({ output }: OutputChange): void {
    if (output.output_type === 'stream') return this.print(output.text)
    if (output.output_type === 'error') return
    const text = output.data['text/plain']
    if (typeof text !== 'string' || text === '') return
    if (/^(Preparing|Training|Paused|Stopping|Done|Stopped|Failed|Crashed)\b/.test(text)) this.progress(text.split('\n')[0])
    else if (!/^setting +value/.test(text)) this.print(`${text}\n`)
  }

  /** The line of a run; the last one always stays. */
  private progress(line: string): void {
    if (line === this.last) return
    this.last = line
    const over = !/^(Preparing|Training|Paused|Stopping)/.test(line)
    if (this.out.isTTY) {
      const room = Math.max(20, (this.out.columns || 80) - 1)
      const cut = line.slice(0, room)
      this.out.write(`\r${cut.padEnd(this.width)}${over ? '\n' : ''}`)
      this.width = over ? 0 : cut.length
    } else if (over || Date.now() - this.shown > 10_000) {
      this.shown = Date.now()
      this.out.write(`${line}\n`)
    }
  }

  private print(text: string): void {
    if (this.width > 0) this.out.write('\n')
    this.width = 0
    this.out.write(text)
  }
}
