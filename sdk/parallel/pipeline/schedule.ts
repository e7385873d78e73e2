/** One piece of work of a stage: a micro-batch through one of its chunks, forward or backward. */
export interface Task { readonly kind: 'forward' | 'backward'; readonly chunk: number; readonly micro: number }

/** How long a task takes, in any unit: a backward costs about two forwards. */
const cost = { forward: 1, backward: 2 } as const

/**
 * What a stage does with a window's micro-batches, in order: first so many forwards that the stages behind it have work, then one forward
 * and one backward in turn (1F1B), then the backwards that are left. A stage holds the records of no more micro-batches than
 * there are stages behind it. With several chunks a stage, rounds of micro-batches go through one chunk after the
 * other (interleaved stages, arXiv 2104.04473), which makes the waiting at both ends shorter.
 */
export function scheduleOf(stages: number, chunks: number, micros: number, stage: number): Task[] {
  // Chunks in turns wait for whole rounds: what is left of them goes after.
  const rest = chunks === 1 ? 0 : micros % stages, whole = micros - rest
  if (rest === 0 || whole === 0) return inTurns(stages, chunks, micros, stage)
  return [...inTurns(stages, chunks, whole, stage), ...inTurns(stages, chunks, rest, stage).map((task) => ({ ...task, micro: whole + task.micro }))]
}

function inTurns(stages: number, chunks: number, micros: number, stage: number): Task[] {
  const forwards = inRounds(stages, chunks, micros, (chunk) => chunk).map(([chunk, micro]): Task => ({ kind: 'forward', chunk, micro }))
  const backwards = inRounds(stages, chunks, micros, (chunk) => chunks - 1 - chunk).map(([chunk, micro]): Task => ({ kind: 'backward', chunk, micro }))
  const ahead = chunks === 1 ? stages - stage - 1 : 2 * (stages - stage - 1) + (chunks - 1) * Math.min(stages, micros)
  const tasks = forwards.splice(0, Math.min(ahead, forwards.length))
  for (const backward of backwards) tasks.push(...forwards.splice(0, 1), backward)
  return tasks
}

/** Micro-batches in rounds of as many as there are stages, each round through all chunks. */
function inRounds(stages: number, chunks: number, micros: number, turn: (chunk: number) => number): [chunk: number, micro: number][] {
  const rounds = Math.ceil(micros / stages)
  return Array.from({ length: rounds }, (_, round) => {
    const members = Array.from({ length: Math.min(stages, micros - round * stages) }, (__, i) => round * stages + i)
    return Array.from({ length: chunks }, (__, chunk) => members.map((micro): [number, number] => [turn(chunk), micro])).flat()
  }).flat()
}

/** Most micro-batches that are between forward and backward in one chunk at once. */
export function mostInFlight(tasks: readonly Task[]): number {
  const open = new Map<number, number>()
  return tasks.reduce((most, { kind, chunk }) => {
    const now = (open.get(chunk) ?? 0) + (kind === 'forward' ? 1 : -1)
    open.set(chunk, now)
    return Math.max(most, now)
  }, 0)
}

/** How long all stages take together, in units of a chunk's forward, when nothing but each other keeps them waiting. @throws Error when they wait for each other for ever */
export function playThrough(stages: number, chunks: number, micros: number): number {
  const depth = stages * chunks, ends = new Map<string, number>(), key = (kind: Task['kind'], place: number, micro: number): string => `${kind} ${place} ${micro}`
  const left = Array.from({ length: stages }, (_, stage) => ({ stage, tasks: scheduleOf(stages, chunks, micros, stage), free: 0 }))
  const needs = ({ kind, micro }: Task, place: number): string | null =>
    kind === 'forward' ? (place === 0 ? null : key('forward', place - 1, micro)) : place === depth - 1 ? key('forward', place, micro) : key('backward', place + 1, micro)
  for (let moved = true; moved;) {
    moved = false
    for (const each of left) {
      for (let task = each.tasks[0]; task !== undefined; task = each.tasks[0]) {
        const place = task.chunk * stages + each.stage, need = needs(task, place), from = need === null ? 0 : ends.get(need)
        if (from === undefined) break
        each.free = Math.max(each.free, from) + cost[task.kind]
        ends.set(key(task.kind, place, task.micro), each.free)
        each.tasks.shift()
        moved = true
      }
    }
  }
  if (left.some(({ tasks }) => tasks.length > 0)) throw new Error(`${stages} stages of ${chunks} chunks wait for each other with ${micros} micro-batches`)
  return Math.max(...left.map(({ free }) => free))
}

/** Share of the time in which a stage waits, by the formula (P − 1) / (V·M + P − 1). */
export function bubbleOf(stages: number, chunks: number, micros: number): number { return (stages - 1) / (chunks * micros + stages - 1) }
