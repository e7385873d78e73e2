/** Nodes of the template engine's syntax tree; the package declares its types for ES modules only. */
interface Node { readonly type: string; readonly [part: string]: unknown }
const { Template } = require('@huggingface/jinja') as { Template: new (source: string) => { readonly parsed: Node } }

/**
 * What a template does with the texts of messages: `whole`: it only writes them out, so that its rendering is the same but for
 * the texts themselves, whatever they are; `trimmed`: the same for texts that neither begin nor end with white space and are not
 * empty; `unknown`: it may look into them.
 */
export type TextUse = 'whole' | 'trimmed' | 'unknown'

export function textUse(source: string): TextUse {
  const reader = new Reader()
  try {
    return reader.read(new Template(source).parsed.body as Node[])
  } catch {
    // Unsure, or a template that the engine cannot read, of which rendering tells more.
    return 'unknown'
  }
}

class Unsure extends Error {}

/** What an expression holds: messages, one message, text in which a message's text stands, or something that no message's text decides. */
type Kind = 'list' | 'message' | 'text' | 'free'

const tests = ['defined', 'undefined', 'none', 'string', 'mapping', 'iterable', 'sequence']

/** Fields that a message always has beside its own. */
const mapMethods = ['get', 'items', 'keys', 'values']

/** Follows the texts through a template, over all its branches. Whatever is not listed here makes it unsure. */
class Reader {
  private readonly variables = new Map<string, Kind>([['messages', 'list']])
  private changed = false
  private trims = false

  read(body: readonly Node[]): TextUse {
    // A loop may use what its end has set, so it is read until nothing new comes.
    do {
      this.changed = false
      this.block(body)
    } while (this.changed)
    return this.trims ? 'trimmed' : 'whole'
  }

  private block(body: readonly Node[]): void { for (const node of body) this.statement(node) }

  private statement(node: Node): void {
    switch (node.type) {
      case 'Comment': case 'Break': case 'Continue': return
      case 'If':
        this.free(node.test as Node)
        this.block(node.body as Node[])
        return this.block(node.alternate as Node[])
      case 'For': return this.loop(node)
      case 'Set': return this.set(node)
      default:
        if (['list', 'message'].includes(this.kind(node))) throw new Unsure()
    }
  }

  private loop({ loopvar, iterable, body, defaultBlock }: Node): void {
    const { type, lhs, test } = iterable as Node
    const kind = this.kind((type === 'SelectExpression' ? lhs : iterable) as Node)
    if ((loopvar as Node).type !== 'Identifier' || (kind !== 'list' && kind !== 'free')) throw new Unsure()
    this.assign((loopvar as Node).value as string, kind === 'list' ? 'message' : 'free')
    if (type === 'SelectExpression') this.free(test as Node)
    this.block(body as Node[])
    this.block(defaultBlock as Node[])
  }

  private set({ assignee, value, body }: Node): void {
    if (value === null || (body as Node[]).length > 0) throw new Unsure()
    const kind = this.kind(value as Node), { type, value: name } = assignee as Node
    if (type === 'Identifier') this.assign(name as string, kind)
    else if (kind !== 'free') throw new Unsure()
  }

  private assign(name: string, kind: Kind): void {
    const before = this.variables.get(name), joined = before === undefined ? kind : join(before, kind)
    if (joined === before) return
    this.variables.set(name, joined)
    this.changed = true
  }

  private free(node: Node): void { if (this.kind(node) !== 'free') throw new Unsure() }

  private kind(node: Node): Kind {
    switch (node.type) {
      case 'StringLiteral': case 'IntegerLiteral': case 'FloatLiteral': return 'free'
      case 'Identifier': return this.variables.get(node.value as string) ?? 'free'
      case 'ArrayLiteral': case 'TupleLiteral':
        for (const item of node.value as Node[]) this.free(item)
        return 'free'
      case 'MemberExpression': return this.member(node.object as Node, node.property as Node, node.computed as boolean)
      case 'CallExpression': return this.call(node.callee as Node, node.args as Node[])
      case 'BinaryExpression': return this.binary((node.operator as { value: string }).value, node.left as Node, node.right as Node)
      case 'FilterExpression': return this.filter(this.kind(node.operand as Node), node.filter as Node)
      case 'TestExpression': return this.test(this.kind(node.operand as Node), (node.test as Node).value as string)
      case 'UnaryExpression':
        this.free(node.argument as Node)
        return 'free'
      case 'KeywordArgumentExpression':
        this.free(node.value as Node)
        return 'free'
      case 'SelectExpression':
        this.free(node.test as Node)
        return this.kind(node.lhs as Node)
      case 'Ternary':
        this.free(node.condition as Node)
        return join(this.kind(node.trueExpr as Node), this.kind(node.falseExpr as Node))
      default: throw new Unsure()
    }
  }

  private member(object: Node, property: Node, computed: boolean): Kind {
    const kind = this.kind(object)
    if (kind === 'list') {
      if (!computed) throw new Unsure()
      if (property.type === 'SliceExpression') {
        for (const part of ['start', 'stop', 'step']) if (property[part] !== undefined) this.free(property[part] as Node)
        return 'list'
      }
      if (property.type === 'StringLiteral') throw new Unsure()
      this.free(property)
      return 'message'
    }
    const name = property.type === 'StringLiteral' || (property.type === 'Identifier' && !computed) ? property.value as string : null
    if (kind === 'message') {
      if (name === null || mapMethods.includes(name)) throw new Unsure()
      return name === 'content' ? 'text' : 'free'
    }
    if (kind === 'text') throw new Unsure()
    if (name === 'previtem' || name === 'nextitem') throw new Unsure()
    if (computed) this.free(property)
    return 'free'
  }

  private call(callee: Node, args: readonly Node[]): Kind {
    for (const arg of args) this.free(arg)
    if (callee.type === 'MemberExpression' && !callee.computed && this.kind(callee.object as Node) === 'text') {
      if (args.length > 0 || !['strip', 'lstrip', 'rstrip'].includes((callee.property as Node).value as string)) throw new Unsure()
      return this.trimmed()
    }
    this.free(callee)
    return 'free'
  }

  private binary(operator: string, left: Node, right: Node): Kind {
    const kinds = [this.kind(left), this.kind(right)]
    if (kinds.every(kind => kind === 'free')) return 'free'
    if ((operator === '+' || operator === '~') && kinds.every(kind => kind === 'free' || kind === 'text')) return 'text'
    // The names of a message's fields are always the same.
    if ((operator === 'in' || operator === 'not in') && kinds[0] === 'free' && kinds[1] === 'message') return 'free'
    throw new Unsure()
  }

  private filter(operand: Kind, filter: Node): Kind {
    if (operand === 'free') {
      if (filter.type === 'CallExpression') for (const arg of filter.args as Node[]) this.free(arg)
      return 'free'
    }
    if (operand === 'text' && filter.type === 'Identifier' && filter.value === 'trim') return this.trimmed()
    if (operand === 'list' && filter.type === 'Identifier' && filter.value === 'length') return 'free'
    throw new Unsure()
  }

  private test(operand: Kind, name: string): Kind {
    if (operand !== 'free' && !tests.includes(name)) throw new Unsure()
    return 'free'
  }

  private trimmed(): Kind {
    this.trims = true
    return 'text'
  }
}

/** Of two values that a name may have: a text beside something free is a text. */
function join(a: Kind, b: Kind): Kind {
  if (a === b) return a
  if (![a, b].includes('free') || [a, b].includes('list') || [a, b].includes('message')) throw new Unsure()
  return 'text'
}
