import type { Plan } from './plan'

/** A remedy in the two languages that start runs: a builder's calls and an argument file's names. */
export interface Remedy { readonly calls: string; readonly flags: string }

/** The same optimizer steps with about half of the memory that passes take; where they take least already, less of what trains. */
export function smallerPlan({ batch, recompute, method, precision, data, device }: Plan): Remedy {
  const again = recompute === 'full' ? { calls: '', flags: '' } : { calls: '.recompute()', flags: ' --recompute true' }
  // Passes that the plan leaves open hold 1,024 tokens on CPUs, and more on GPUs.
  const tokens = batch.tokens ?? (device === 'cuda' ? null : 1024)
  if (tokens !== null && tokens > 256) return { calls: `.tokenBudget(${Math.floor(tokens / 2)})${again.calls}`, flags: `--per_device_train_batch_tokens ${Math.floor(tokens / 2)}${again.flags}` }
  if (tokens === null && batch.size > 1) {
    const rows = batch.size * batch.accumulate, half = Math.floor(batch.size / 2), size = Array.from({ length: half }, (_, i) => half - i).find((each) => rows % each === 0)!, accumulate = rows / size
    return { calls: `.batch(${size}).accumulate(${accumulate})${again.calls}`, flags: `--per_device_train_batch_size ${size} --gradient_accumulation_steps ${accumulate}${again.flags}` }
  }
  if (recompute !== 'full') return { calls: '.recompute()', flags: '--recompute true' }
  if (method === 'sft') return { calls: '.lora().bf16()', flags: '--lora true --bf16 true' }
  if (precision === 'fp32') return { calls: '.bf16()', flags: '--bf16 true' }
  const length = Math.floor(data.maxLength / 2)
  return { calls: `.data(path, { maxLength: ${length} })`, flags: `--max_length ${length} --src_length ${Math.floor(length / 2)}` }
}
