import { ModelError } from '../errors'
import { tagLines, withLineCalls, wrapTag } from './template-lines'
import { textUse, type TextUse } from './template-texts'
import type { ChatMessage, ChatOptions } from './types'

/** The package declares its types for ES modules only; these are the parts in use. */
interface Template { render(values: Record<string, unknown>): string }
const { Template } = require('@huggingface/jinja') as { Template: new (source: string) => Template }

/** A compiled chat template. */
export interface ChatTemplate {
  /** Where the template came from, for messages. */
  readonly name: string
  /** What it does with the texts of messages. */
  readonly texts: TextUse
  render(messages: readonly ChatMessage[], options?: ChatOptions): string
}

/**
 * Compiles a chat template (Jinja as transformers reads it: trim_blocks and lstrip_blocks on).
 * @param specialTexts `bos_token`, `eos_token`, … for the template to read
 * @throws ModelError `tokenizer.chat-template` naming the template and the line
 */
export function compileChatTemplate(source: string, name: string, specialTexts: Readonly<Record<string, string>> = {}): ChatTemplate {
  let template: Template
  try {
    template = new Template(source)
  } catch (cause) {
    const line = lineThatDoesNotParse(source)
    throw failure(name, line, `uses something that Fettle's template engine cannot read: ${messageOf(cause)}`, 'simplify that line, or give another template', cause)
  }
  // Handing a text to the engine costs more than rendering it, so only those that the template names go in.
  const named = Object.fromEntries(Object.entries(specialTexts).filter(([token]) => source.includes(token)))
  return {
    name, texts: textUse(source),
    render(messages, options = {}) {
      const values = {
        ...named, tools: null, documents: null, ...options.variables,
        messages, add_generation_prompt: options.addGenerationPrompt ?? false
      }
      try {
        return template.render(values)
      } catch (cause) {
        throw renderFailure(name, source, values, messages, cause)
      }
    }
  }
}

/** A model's own chat template, compiled on first use. */
export class ModelTemplate {
  private compiled: ChatTemplate | null = null

  /** @param source the model that it belongs to, for messages */
  constructor(private readonly source: string, private readonly template: string | null, private readonly specialTexts: Readonly<Record<string, string>>) {}

  /** @throws ModelError `tokenizer.no-chat-template`, `tokenizer.chat-template` */
  render(messages: readonly ChatMessage[], options?: ChatOptions): string {
    if (this.template === null) {
      throw new ModelError('tokenizer.no-chat-template', `${this.source}: the tokenizer has no chat template; train with a plain template, or give a Jinja file as template`, { source: this.source })
    }
    this.compiled ??= compileChatTemplate(this.template, `of ${this.source}`, this.specialTexts)
    return this.compiled.render(messages, options)
  }
}

function renderFailure(name: string, source: string, values: Record<string, unknown>, messages: readonly ChatMessage[], cause: unknown): ModelError {
  const line = lineThatFails(source, values)
  const text = source.split('\n')[(line ?? 0) - 1] ?? ''
  const roles = messages.map(m => m.role).join(', ')
  if (/raise_exception/.test(text)) {
    const system = roles.startsWith('system') ? ' (many templates that refuse a chat do not take a system message)' : ''
    return failure(name, line, `refuses a chat of ${roles || 'no messages'}: ${messageOf(cause)}`, `give messages in the order that it asks for${system}`, cause, { roles })
  }
  return failure(name, line, `fails on a chat of ${roles || 'no messages'}: ${messageOf(cause)}`, 'simplify that line, or give another template', cause, { roles })
}

function failure(name: string, line: number | null, seen: string, remedy: string, cause: unknown, details: Record<string, unknown> = {}): ModelError {
  return new ModelError('tokenizer.chat-template', `chat template ${name}${line === null ? '' : `, line ${line}`}: ${seen}; ${remedy}`, { template: name, line, ...details }, { cause })
}

function messageOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).replace(/\.$/, '')
}

/** The engine's errors carry no place, so each tag is tried by itself. */
function lineThatDoesNotParse(source: string): number | null {
  for (const tag of tagLines(source)) {
    const alone = wrapTag(tag.text)
    if (alone === null) continue
    try {
      new Template(alone)
    } catch {
      return tag.line
    }
  }
  return null
}

/** Renders once more with a call before each tag that notes the line; what it writes does not matter. */
function lineThatFails(source: string, values: Record<string, unknown>): number | null {
  let line: number | null = null
  const note = (n: number): string => {
    line = n
    return ''
  }
  try {
    new Template(withLineCalls(source, 'fettle_line')).render({ ...values, fettle_line: note })
    return null
  } catch {
    return line
  }
}
