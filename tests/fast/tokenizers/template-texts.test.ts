import * as assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChatRenderer } from 'fettle/dist/data/chat-renderer'
import { renderSpans } from 'fettle/dist/data/chat-spans'
import { seededRandom } from 'fettle/dist/data/random'
import { compileChatTemplate, textUse, type ChatMessage } from 'fettle/dist/tokenizers'

/** Shapes of published templates. */
const templates = {
  chatml: "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
  llama3: "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
  llama2: "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = '' %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 %}{% set content = '<<SYS>>' + system_message + '<</SYS>>' + message.content %}{% else %}{% set content = message.content %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% else %}{{ ' ' ~ content ~ ' ' ~ eos_token }}{% endif %}{% endfor %}",
  rounds: "{%- for m in messages if m.role != 'system' -%}{{ 'Q: ' if m.role == 'user' else 'A: ' }}{{ m.content }}\n{%- endfor -%}{% if add_generation_prompt %}A: {% endif %}",
  swaps: '{{ messages[0].content }}|{{ messages[-1].content }}{% if add_generation_prompt %}!{% endif %}',
  looks: "{% for m in messages %}{% if 'x' in m.content %}!{% endif %}{{ m.content }}{% endfor %}",
  counts: '{% for m in messages %}{{ m.content | length }}{{ m.content }}{% endfor %}',
  cuts: "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}",
  dumps: '{{ messages | tojson }}',
  items: '{% for m in messages %}{% for k, v in m.items() %}{{ v | upper }}{% endfor %}{% endfor %}',
  gets: "{% for m in messages %}{{ m.get('content') | upper }}{% endfor %}",
  named: "{% set key = 'content' %}{% for m in messages %}{{ m[key] | upper }}{% endfor %}",
  kept: '{% set ns = namespace(last="") %}{% for m in messages %}{% set ns.last = m.content %}{% endfor %}{{ ns.last | upper }}',
  aliased: '{% set c = "" %}{% for m in messages %}{% set c = m.content %}{% if c == "a" %}!{% endif %}{% endfor %}',
  before: '{% for m in messages %}{% if old == "a" %}!{% endif %}{% set old = m.content %}{{ old }}{% endfor %}',
  neighbours: '{% for m in messages %}{{ loop.previtem.content | upper if loop.previtem }}{{ m.content }}{% endfor %}',
  macro: '{% macro say(m) %}{{ m.content | upper }}{% endmacro %}{% for m in messages %}{{ say(m) }}{% endfor %}',
  broken: '{% for m in %}'
}

test('only templates that write texts out as they are count as such', () => {
  const uses = Object.fromEntries(Object.entries(templates).map(([name, source]) => [name, textUse(source)]))
  assert.deepEqual(uses, {
    chatml: 'whole', llama3: 'trimmed', llama2: 'trimmed', rounds: 'whole', swaps: 'whole',
    looks: 'unknown', counts: 'unknown', cuts: 'unknown', dumps: 'unknown', items: 'unknown', gets: 'unknown', named: 'unknown', kept: 'unknown', aliased: 'unknown', before: 'unknown', neighbours: 'unknown',
    macro: 'unknown', broken: 'unknown'
  })
})

for (const [name, source] of Object.entries(templates)) {
  if (name === 'broken') continue
  test(`${name}: chats and answers are where rendering each chat has them`, () => {
    const template = compileChatTemplate(source, name, { bos_token: '<s>', eos_token: '</s>' }), renderer = new ChatRenderer(template), random = seededRandom(3)
    const texts = ['a', 'b c', '', ' ', ' a', 'a\n', 'Q: x', '<|im_end|>', 'assistant\n', '😀', '{{ x }}', '$&', 'A: ', '</think>x', '\ue0000\ue001', 'system']
    for (let i = 0; i < 400; i++) {
      const messages: ChatMessage[] = random() % 3 === 0 ? [{ role: 'system', content: texts[random() % texts.length] }] : []
      for (let round = 1 + random() % 3; round > 0; round--) for (const role of ['user', 'assistant']) messages.push({ role, content: texts[random() % texts.length] })
      const attempt = (render: () => { text: string; answers: unknown }): unknown => {
        try {
          const { text, answers } = render()
          return { text, answers }
        } catch (error) {
          return (error as Error).message
        }
      }
      assert.deepEqual(attempt(() => renderer.render(messages)), attempt(() => renderSpans(template, messages)), JSON.stringify(messages))
    }
  })
}
