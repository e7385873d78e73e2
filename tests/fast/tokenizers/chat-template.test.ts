import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { test } from 'node:test'
import { compileChatTemplate, loadTokenizer } from 'fettle/dist/tokenizers'
import { fixture } from '../../support/paths'

const user = [{ role: 'user', content: 'Hi' }]

test("SmolLM2's template renders as transformers renders it", () => {
  const golden = JSON.parse(fs.readFileSync(fixture('golden', 'tokenizers', 'smollm2-chat.json'), 'utf8'))
  const tokenizer = loadTokenizer(fixture('tokenizers', 'smollm2'))
  assert.equal(tokenizer.chatTemplate, golden.template)
  assert.equal(tokenizer.renderChat(golden.messages, { addGenerationPrompt: true }), golden.rendered)
})

test('blocks are trimmed as transformers trims them; variables and special tokens are there', () => {
  const template = compileChatTemplate('{{ bos_token }}\n{% for m in messages %}\n  {% if m.role == "user" %}\n[{{ m.content | trim }}]{{ tone }}\n  {% endif %}\n{% endfor %}\n', 'x', { bos_token: '<s>' })
  assert.equal(template.render(user, { variables: { tone: '!' } }), '<s>\n[Hi]!\n')
})

test('what the engine cannot read is an error that names template and line', () => {
  const compile = (source: string) => () => compileChatTemplate(source, 'mine.jinja')
  assert.throws(compile('a\n{% for m in messages %}\n{{ m.content }}\n{% autoescape true %}\n{% endfor %}'), { code: 'tokenizer.chat-template', message: /^chat template mine\.jinja, line 4: / })
  assert.throws(compile('\n{{ messages | }}'), { message: /line 2: / })
  assert.throws(compile('{% if a %}\n{% elif b ~~ c %}{% endif %}'), { message: /line 2: / })
})

test('a template that fails or refuses while it renders names its line', () => {
  const render = (source: string) => () => compileChatTemplate(source, 'mine.jinja').render([{ role: 'system', content: 'S' }])
  assert.throws(render('a\n{% for m in messages %}\n{{ m.content | nosuchfilter }}\n{% endfor %}'), { code: 'tokenizer.chat-template', message: /line 3: fails on a chat of system: .*nosuchfilter/ })
  assert.throws(render("{% if messages[0].role == 'system' %}\n{{ raise_exception('System role not supported') }}{% endif %}"),
    { message: /line 2: refuses a chat of system: System role not supported; .*do not take a system message/ })
})

test('a model without a chat template says so', () => {
  const tokenizer = loadTokenizer(fixture('golden', 'tokenizers', 'sentencepiece-bpe.model'))
  assert.equal(tokenizer.chatTemplate, null)
  assert.throws(() => tokenizer.renderChat(user), { code: 'tokenizer.no-chat-template', message: /has no chat template; train with a plain template/ })
})
