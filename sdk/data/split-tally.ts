import type { DataPlan } from '../plan/plan'
import type { Tokenizer } from '../tokenizers'
import type { DataNote, PreparedSplit } from './dataset'
import type { EncodedBlock } from './encode-block'
import { previewRow, previewsBetter } from './preview'
import { BlankLines, newReadStats } from './rows'

/** Counts what the blocks of a split hold, in their order. */
export class SplitTally {
  rows = 0
  bytes = 0
  private truncated = 0
  /** Rows without a token to learn from, and where the first stands. */
  private unanswered = 0
  private firstUnanswered = ''
  private tokens = 0
  private supervised = 0
  private longest = 0
  private shown: EncodedBlock['shown'] = null
  private readonly stats = newReadStats()
  private readonly odd = new Set<string>()
  private readonly files = new Map<string, { rows: number; readonly blanks: BlankLines }>()

  constructor(private readonly tokenizer: Tokenizer) {}

  /** Rows of a file so far. */
  rowsOfFile(name: string): number { return this.files.get(name)?.rows ?? 0 }

  add({ bytes, lengths, supervised, ids, truncated, unanswered, ignoredFields, blanks, shown, notes }: EncodedBlock, name: string): void {
    const file = this.files.get(name) ?? { rows: 0, blanks: new BlankLines(name, this.stats) }
    this.files.set(name, file)
    file.rows += lengths.length
    if (blanks.inside.count > 0) file.blanks.pass(blanks.inside.line, false, blanks.inside.count)
    if (lengths.length > 0) file.blanks.pass(blanks.lastRow, true)
    if (blanks.after.count > 0) file.blanks.pass(blanks.after.line, false, blanks.after.count)
    for (const [field, rows] of ignoredFields) this.stats.ignoredFields.set(field, (this.stats.ignoredFields.get(field) ?? 0) + rows)
    for (const note of notes) this.odd.add(note)
    if (this.unanswered === 0 && unanswered.rows > 0) this.firstUnanswered = `${name}:${unanswered.line}`
    this.unanswered += unanswered.rows
    this.truncated += truncated
    this.rows += lengths.length
    this.bytes += bytes
    this.tokens += ids.length
    for (const count of supervised) this.supervised += count
    for (const length of lengths) this.longest = Math.max(this.longest, length)
    if (shown !== null && previewsBetter(shown, this.shown)) this.shown = shown
  }

  result(): Pick<PreparedSplit, 'rows' | 'tokens' | 'supervised' | 'truncated' | 'longest' | 'preview'> {
    const { rows, tokens, supervised, truncated, longest } = this
    return { rows, tokens, supervised, truncated, longest, preview: previewRow(this.tokenizer, this.shown!) }
  }

  notes({ srcLength, maxLength }: DataPlan): DataNote[] {
    const { stats, rows } = this, notes: DataNote[] = []
    const note = (code: DataNote['code'], message: string): void => { notes.push({ code, message }) }
    if (stats.ignoredFields.size > 0) {
      const fields = [...stats.ignoredFields].map(([name, count]) => `${JSON.stringify(name)} (${count} rows)`).join(', ')
      note('data.ignored-fields', `fields beside src and tgt are not used: ${fields}`)
    }
    if (stats.blankLines > 0) note('data.blank-lines', `blank lines between rows: ${stats.blankLines}, the first at ${stats.firstBlank}`)
    if (this.truncated > 0) note('data.truncated', `${this.truncated} of ${rows} rows were cut to srcLength ${srcLength} and maxLength ${maxLength}`)
    if (this.unanswered > 0) {
      note('data.no-answer-left', `rows without a token to learn from: ${this.unanswered}, the first at ${this.firstUnanswered}; raise maxLength or lower srcLength`)
    }
    for (const message of this.odd) note('data.no-end-of-turn', message)
    return notes
  }
}
