/** What a tokenizer.json's post-processor puts round a single text. */
export function addedRound(postProcessor: unknown): { before: number[]; after: number[] } {
  const processor = postProcessor as Record<string, unknown> | null
  switch (processor?.type) {
    case 'Sequence': {
      const parts = (processor.processors as unknown[]).map(addedRound)
      return { before: parts.flatMap(p => p.before), after: parts.flatMap(p => p.after) }
    }
    case 'TemplateProcessing': return addedByTemplate(processor)
    case 'RobertaProcessing':
    case 'BertProcessing':
      return { before: [(processor.cls as [string, number])[1]], after: [(processor.sep as [string, number])[1]] }
    default: return { before: [], after: [] }
  }
}

type Piece = { SpecialToken: { id: string } } | { Sequence: { id: string } }

function addedByTemplate(processor: Record<string, unknown>): { before: number[]; after: number[] } {
  const ids = processor.special_tokens as Record<string, { ids: number[] }>
  const before: number[] = []
  const after: number[] = []
  let side = before
  for (const piece of processor.single as Piece[]) {
    if ('Sequence' in piece) side = after
    else side.push(...ids[piece.SpecialToken.id].ids)
  }
  return { before, after }
}
