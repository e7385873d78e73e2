// Makes docs/published-models.md from the records and the memory model. `npm run docs`, or `node docs/published-models.mjs FILE`.
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'

const docs = path.dirname(fileURLToPath(import.meta.url)), require = createRequire(import.meta.url)
const { catalog, catalogTokens } = require('../sdk/dist/inspect/catalog')
const { short, whole } = require('../sdk/dist/views/format')
const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(bytes < 10 * 2 ** 30 ? 1 : 0)} GiB`

/** What is worth knowing before the first run of a family. */
const notes = {
  llama: 'LLaMA 1 and 2 have no padding token and need none: rows are packed. Their tokenizer.model is read as well as a tokenizer.json.',
  bloom: 'ALiBi adds a number for each head and pair of tokens, which is why memory grows with the square of the longest row.',
  opt: 'The repositories hold `pytorch_model.bin` alone; it is read as data and nothing in it runs. `</s>` goes before every prompt.',
  qwen: 'The repository brings `qwen.tiktoken` instead of a tokenizer.json. Beyond 8,192 tokens inference grows the rotary base and scales queries; training does not.',
  chatglm: 'The repository holds `pytorch_model-0000N-of-00008.bin` and `ice_text.model`. A prompt ends with `[gMASK] <sop>` and is seen whole by all of its tokens; a row of several rounds becomes one training row a round.',
  chatglm2: 'The repository holds `pytorch_model-0000N-of-00007.bin` and `tokenizer.model`. Every text begins with `[gMASK] sop`.',
}

function section({ family, title, structure, adaptable, methods, models }) {
  const [first] = models
  const rows = models.map(({ repository, parameters, download, loraMemory, sftMemory, pickled }) =>
    `| \`${repository}\` | ${short(parameters)} | ${gib(download)}${pickled ? ', pickled' : ''} | ${gib(loraMemory)} | ${gib(sftMemory)} |`)
  return `## ${title}

${structure[0][0].toUpperCase()}${structure.join(', ').slice(1)}.${notes[family] ? ` ${notes[family]}` : ''}

| checkpoint | parameters | weights | LoRA | all weights |
| --- | --- | --- | --- | --- |
${rows.join('\n')}

\`\`\`sh
npx fettle run --model_name_or_path ${first.repository} --dataset_name_or_path data --output_dir output/${family}-lora \\
  --do_train true --lora true --lora_rank 8 --learning_rate 3e-4 --bf16 true --src_length ${catalogTokens / 2} --max_length ${catalogTokens} --per_device_train_batch_size 1
\`\`\`

Methods: ${methods.join(', ')}. An adapter may change ${adaptable.map((name) => `\`${name}\``).join(', ')}; \`--lora_target_modules\` names some of them, all when it is left out.
`
}

const page = `<!-- Made by docs/published-models.mjs (npm run docs). -->
# Published models

For each family the checkpoints that people fine-tune, the command, and the memory that it takes. \`npx fettle models\` prints the same figures;
[Model families](families.md) tells how a family is described and what is tested of each. A model of another size is no different: the record reads its
config.json.

**Memory** is computed by the rules that a run itself uses to refuse what cannot fit (\`runMemory\` of sdk/models/memory.ts), not measured on these models:
bf16, ${whole(catalogTokens)} tokens a batch, rank 8 on every Linear layer for LoRA; for all weights fp32 masters, gradients and two moments of AdamW (18 bytes a
parameter). It is a lower bound: fused blocks take about a tenth more than its activations, plain ones two or three times as much. One process holds
all of it; sharing it between ranks is not there yet. **Weights** are two bytes a value, about what is downloaded (a file of 32-bit weights is twice that).

Leave out \`--lora true\` and take \`--learning_rate 3e-5\` to train all weights. In TypeScript the same is

\`\`\`ts
import { sft } from 'fettle'

const plan = sft('${'huggyllama/llama-7b'}').data('data', { srcLength: ${catalogTokens / 2}, maxLength: ${catalogTokens} }).lora({ rank: 8 }).learningRate(3e-4).bf16().batch(1)
\`\`\`

${catalog().map(section).join('\n')}`
fs.writeFileSync(process.argv[2] ?? path.join(docs, 'published-models.md'), page)
