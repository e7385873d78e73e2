/** Index into the UTF-16 text of a position that Jupyter counts in code points (an emoji is one of these, and two of ours). */
export function fromCodePoints(text: string, position: number): number {
  let index = 0
  for (let i = 0; i < position && index < text.length; i++) index += text.codePointAt(index)! > 0xffff ? 2 : 1
  return index
}

/** The other way round. */
export function toCodePoints(text: string, index: number): number {
  let count = 0
  for (const _ of text.slice(0, index)) count++
  return count
}
