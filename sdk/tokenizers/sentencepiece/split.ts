/** Takes the pieces that a normalised text is split into, in their order: bytes [from, to) are the piece `id`. */
export type TakePiece = (id: number, from: number, to: number) => void

/** Splits bytes [from, to) of a normalised text into pieces. What no piece covers comes as the unknown piece. */
export interface Splitter {
  split(bytes: Buffer, from: number, to: number, take: TakePiece): void
}
