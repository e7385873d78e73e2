import { ModelError } from '../errors'

/** What PaddleNLP's chat_template.json holds: Jinja texts for the system message, a round's two halves, and a last question. */
interface PaddleTemplate { readonly system?: string | null; readonly conversation?: readonly string[] | null; readonly query?: string | null }

/** True for the content of a chat_template.json of PaddleNLP's kind. */
export function isPaddleTemplate(json: Readonly<Record<string, unknown>>): boolean { return 'conversation' in json || 'query' in json }

/**
 * The same template in one text, as Hugging Face's are. A round's texts read `user`, `bot`, `index` (from 0), `is_first` and
 * `is_last`; the question reads `query`.
 * @throws ModelError `tokenizer.chat-template` when a part is missing
 */
export function templateFromPaddle(json: Readonly<Record<string, unknown>>, file: string): string {
  const { system = '', conversation, query } = json as PaddleTemplate
  const whole = Array.isArray(conversation) && conversation.length === 2 && conversation.every((part) => typeof part === 'string')
  if (!whole || (query != null && typeof query !== 'string') || (system !== null && typeof system !== 'string')) {
    throw new ModelError('tokenizer.chat-template', `${file}: expected "conversation" to be two texts (the user's half of a round, the answer's), and "query" and "system" to be texts, got ${JSON.stringify(json).slice(0, 200)}; give another template`, { file })
  }
  const [user, bot] = conversation as [string, string]
  // The empty expressions keep the line ends of a part from being taken for those of the tag beside it.
  const part = (text: string): string => `{{ '' }}${text}{{ '' }}`
  return `{%- if messages and messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}{%- set turns = messages[1:] -%}{%- else -%}{%- set turns = messages -%}{%- endif -%}
{%- set is_training = not add_generation_prompt -%}{%- set length = (turns | length + 1) // 2 -%}${part(system ?? '')}{%- for message in turns -%}
{%- set index = loop.index0 // 2 -%}{%- set is_first = index == 0 -%}{%- set is_last = index == length - 1 -%}
{%- if message['role'] == 'user' -%}{%- set user = message['content'] -%}{%- set query = message['content'] -%}
{%- if loop.last and add_generation_prompt -%}${part(query ?? user)}{%- else -%}${part(user)}{%- endif -%}
{%- else -%}{%- set bot = message['content'] -%}${part(bot)}{%- endif -%}{%- endfor -%}`
}
