import type { RunEvent } from 'fettle'
import type { ChatState } from 'fettle/dist/chat/state'

/** When every made-up run begins. */
export const storyStart = 1_700_000_000_000

/** A run as its events tell it: `steps` of `total`, evaluated and sampled each 50. */
export function story(total: number, steps = total): RunEvent[] {
  const at = (step: number) => storyStart + 1000 + step * 700
  const events: RunEvent[] = [
    { type: 'prepared', time: storyStart, split: 'train', rows: 4000, tokens: 120_000, supervised: 40_000, truncated: 0, preview: { text: '', ids: [], labels: [], tokens: [] } },
    { type: 'started', time: storyStart + 1000, pid: 4242, host: 'lab', model: 'builtin:smollm2-135m', parameters: 139_399_488, trainable: 4_884_480, totalSteps: total, epochs: 1, startStep: 0, device: 'cpu', blocks: 'fused', threads: 2 },
  ]
  const look = (step: number) => {
    events.push({ type: 'eval', time: at(step), atStep: step, loss: 0.5 + 3 / (1 + step / 20), perplexity: 1, accuracy: step / (step + 60), rows: 64, ms: 900 })
    events.push({ type: 'sample', time: at(step), atStep: step, samples: [
      { prompt: 'cabbage =', answer: step < 100 ? (step < 50 ? ' 2018.12' : ' K AE B IH JH') : ' K AE B AH JH', reference: ' K AE B AH JH' },
      { prompt: '<b>quirk</b> =', answer: step < 50 ? ' The word quirk comes from the early 16th century, when it meant a subtle verbal twist; today a quirk is a peculiar habit or a mannerism. It can also be used as a verb, and then it means to move one’s mouth or eyebrow suddenly, as in surprise or amusement.' : step < 100 ? ' K W ER' : ' K W ER K', reference: null },
      { prompt: 'telephone =', answer: step < 50 ? ' 1-800-555-0199' : step < 100 ? ' T EH L F OW N' : ' T EH L AH F OW N', reference: ' T EH L AH F OW N' }] })
  }
  look(0)
  for (let step = 1; step <= steps; step++) {
    const wave = Math.sin(step * 12.9898) * 43_758.5453
    const noise = wave - Math.floor(wave) - 0.5
    events.push({ type: 'step', time: at(step), step, totalSteps: total, epoch: step / total, loss: 0.4 + 3 / (1 + step / 20) + 0.5 * noise, learningRate: 1e-3 * (1 - step / total), gradNorm: 1 + 1 / step + 0.4 * noise, tokens: 500, supervised: 160, ms: 650, tokensPerSecond: 769.2 + 60 * noise, memory: 1400 + Math.min(90, step), faults: 0, utilisation: 0.9 + 0.08 * noise })
    if (step % 50 === 0) look(step)
  }
  if (steps === total) {
    events.push({ type: 'saved', time: at(total) + 300, atStep: total, path: 'output/pronounce', final: true })
    events.push({ type: 'done', time: at(total) + 500, atStep: total, stopped: false, output: 'output/pronounce', ms: 105_000 })
  }
  return events
}

/** Texts from data that would run, close what they stand in, or push everything aside. */
export const hostileTexts = [
  '<script>globalThis.hacked = 1</script><img src=x onerror="globalThis.hacked = 1">',
  '</style></script></textarea><svg onload="globalThis.hacked = 1">',
  'javascript:globalThis.hacked=1//"\'`${hacked}',
  'x'.repeat(100_000),
  '\u202Eright to left, overridden\u202C مرحبا بالعالم שלום 👩‍👩‍👧‍👦🏳️‍🌈 e\u0301\u0300\u0323',
  '&lt;b&gt; ]]> --> \u2028\u2029 \u0000 {{7*7}} %s %{y}<br>',
] as const

/** A run whose every text is hostile. */
export function hostileStory(): RunEvent[] {
  const at = (seconds: number) => storyStart + seconds * 1000
  const all = hostileTexts.join(' ')
  const sample = (step: number, shift: number): RunEvent => ({ type: 'sample', time: at(step), atStep: step, samples: hostileTexts.map((prompt, i) => ({ prompt, answer: hostileTexts[(i + shift) % hostileTexts.length], reference: hostileTexts[(i + 2) % hostileTexts.length] })) })
  const events = story(100, 60).filter(({ type }) => type !== 'sample')
  const added: RunEvent[] = [
    sample(0, 1), sample(20, 2), sample(40, 3),
    ...hostileTexts.map((message, i): RunEvent => ({ type: 'warning', time: at(100 + i), code: message, message })),
    ...hostileTexts.map((path, i): RunEvent => ({ type: 'saved', time: at(110 + i), atStep: i, path, final: false })),
    { type: 'command', time: at(120), command: all, atStep: 3 },
  ]
  return [...events.map((event): RunEvent => (event.type === 'started' ? { ...event, model: all, host: all, device: hostileTexts[0] } : event)), ...added]
}

/** A chat whose every text is hostile. */
export function hostileChat(): ChatState {
  return {
    version: 1, chat: 'c', title: hostileTexts[0], sides: [{ side: 'base', label: hostileTexts[0] }, { side: 'tuned', label: 'Tuned' }], status: 'ready', error: hostileTexts.join('\n'),
    turns: hostileTexts.map((text, i) => ({ text, answers: [{ side: 'base', text: hostileTexts[(i + 1) % 6], done: true, tokensPerSecond: 12.3 }, { side: 'tuned', text: `${text} again`, done: true, tokensPerSecond: null }], notes: [text] })),
    more: 3,
  }
}
