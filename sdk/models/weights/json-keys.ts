/**
 * Keys of the outermost object of a valid JSON text, in order and with repetitions: JSON.parse keeps the last of
 * equal keys without a word, and in a checkpoint that is a lost tensor.
 */
export function* jsonKeys(text: string): Generator<string> {
  let depth = 0
  let expectKey = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (c === '"') {
      const end = stringEnd(text, i)
      if (depth === 1 && expectKey) yield JSON.parse(text.slice(i, end)) as string
      expectKey = false
      i = end - 1
    } else if (c === '{' || c === '[') {
      depth++
      expectKey = c === '{'
    } else if (c === '}' || c === ']') {
      depth--
    } else if (c === ',' && depth === 1) {
      expectKey = true
    }
  }
}

function stringEnd(text: string, start: number): number {
  let i = start + 1
  while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1
  return i + 1
}
