import { mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { FettleError } from 'fettle/dist/errors'
import { textTable } from 'fettle/dist/views'
import { NotebookError, runNotebook } from './driver'
import { exportHtml } from './html'
import { NotebookProgress } from './progress'

const root = path.resolve(__dirname, '..', '..')

/** What the notebook writes for whoever wants its result as data. */
interface Summary {
  readonly steps: number
  readonly seconds: number
  readonly tokensPerSecond: number
  readonly before: { readonly exact: number; readonly phonemeErrorRate: number }
  readonly after: { readonly exact: number; readonly phonemeErrorRate: number }
  readonly answers: readonly (readonly string[])[]
  readonly adapter: string
}

/**
 * Runs notebooks/quickstart.ipynb through the real kernel and leaves the executed notebook, an HTML page and the adapter in
 * `folder`. `parameters` replace the notebook's own (`steps`, `words`, `heldOut`).
 */
export async function quickstart(folder: string, parameters: Readonly<Record<string, unknown>> = {}, signal?: AbortSignal): Promise<Summary> {
  mkdirSync(folder, { recursive: true })
  const executed = path.join(folder, 'quickstart.ipynb')
  const progress = new NotebookProgress()
  await runNotebook(path.join(root, 'notebooks', 'quickstart.ipynb'), {
    output: executed, parameters: { folder, ...parameters }, onOutput: (change) => progress.take(change), ...(signal ? { signal } : {}),
  })
  await exportHtml(executed, path.join(folder, 'quickstart.html'))
  return JSON.parse(readFileSync(path.join(folder, 'summary.json'), 'utf8')) as Summary
}

const percent = (share: number) => `${(share * 100).toFixed(1)}%`

function tell(summary: Summary, folder: string): string {
  const { before, after } = summary
  const place = (name: string) => path.relative(process.cwd(), path.join(folder, name))
  return `
${textTable(['word', 'before', 'after', 'dictionary', ''], summary.answers.slice(0, 8), 28)}

On words it never saw:  exact ${percent(before.exact)} → ${percent(after.exact)},  phoneme error rate ${percent(before.phonemeErrorRate)} → ${percent(after.phonemeErrorRate)}
${summary.steps} steps in ${summary.seconds} s, ${summary.tokensPerSecond.toLocaleString('en-US')} tokens/s

  ${place('quickstart.html')}    the notebook as a page; open it in a browser
  ${place('quickstart.ipynb')}   the executed notebook
  ${place('adapter')}            the adapter, in PEFT's layout

Next:
  npx fettle generate builtin:smollm2-135m --adapter ${place('adapter')} --prompt "z e b r a ="
  npm run lab        the same notebook in JupyterLab: change steps, words, model, data
  docs/quickstart-script.md   the same walk as a script`
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { output: { type: 'string' }, steps: { type: 'string' }, words: { type: 'string' } } })
  const folder = path.resolve(values.output ?? path.join(root, 'output', 'quickstart'))
  const numbers = Object.entries({ steps: values.steps, words: values.words }).filter(([, value]) => value !== undefined)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  try {
    console.log('Teaching SmolLM2-135M to pronounce English words, in notebooks/quickstart.ipynb …')
    console.log(tell(await quickstart(folder, Object.fromEntries(numbers.map(([name, value]) => [name, Number(value)])), stop.signal), folder))
  } catch (error) {
    if (!(error instanceof FettleError)) throw error
    const { traceback } = error.details as { traceback?: readonly string[] }
    console.error(`\n${traceback?.length && error instanceof NotebookError ? traceback.join('\n') : error.message}`)
    process.exitCode = 1
  }
}

if (require.main === module) void main()
