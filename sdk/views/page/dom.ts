/** What an element gets beside its children: attributes by name; `class` and `text` have their own. Data only ever becomes text. */
export interface Props {
  readonly class?: string
  readonly text?: string
  readonly [attribute: string]: string | number | boolean | undefined
}

/** Makes an element. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: readonly (Node | null)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue
    if (name === 'class') element.className = String(value)
    else if (name === 'text') element.textContent = String(value)
    else element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children.filter((child): child is Node => child !== null))
  return element
}

/** Sets text only where it changes, so that selections and the page's layout stay. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** Sets an attribute only where it changes; `null` takes it away. */
export function setAttribute(element: Element, name: string, value: string | null): void {
  if (element.getAttribute(name) === value) return
  if (value === null) element.removeAttribute(name)
  else element.setAttribute(name, value)
}

/** Replaces the children when what they are made from changes. */
export class Rebuilt<T> {
  private key: string | null = null
  constructor(private readonly element: HTMLElement, private readonly make: (value: T) => readonly Node[]) {}

  update(value: T): void {
    const key = JSON.stringify(value)
    if (key === this.key) return
    this.key = key
    this.element.replaceChildren(...this.make(value))
  }
}

/** JupyterLab takes no shortcut from inside an element with this: Enter and Space press our buttons, arrows move our slider. */
export const ownKeys = { 'data-lm-suppress-shortcuts': 'true' } as const

let count = 0
/** An id that no other element of the page has. */
export function freshId(name: string): string {
  return `fettle-${name}-${++count}-${Math.random().toString(36).slice(2, 7)}`
}
