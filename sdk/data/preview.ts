import type { Tokenizer } from '../tokenizers'
import type { Preview } from './dataset'
import type { EncodedRow } from './encode'

/** Shows a row as the model sees it: special tokens in the text, one token and one label each id. */
export function previewRow(tokenizer: Tokenizer, { ids, labels }: Pick<EncodedRow, 'ids' | 'labels'>): Preview {
  return { text: tokenizer.decode(ids), ids: [...ids], labels: [...labels], tokens: Array.from(ids, id => tokenizer.tokenOf(id)) }
}

/** A row of this length reads well on a screen. */
const readable = 256

/** Should `row` be shown rather than `best`? The first readable one, else the shortest. */
export function previewsBetter(row: Pick<EncodedRow, 'ids'>, best: Pick<EncodedRow, 'ids'> | null): boolean {
  return best === null || (best.ids.length > readable && row.ids.length < best.ids.length)
}
