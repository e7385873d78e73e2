import type { TextAndHtml } from '../views/objects'

/** A notebook kernel asks a value by this method how it is shown. */
export const displayMethod: unique symbol = Symbol.for('Jupyter.display') as never
/** `console.log` asks by this one. */
const inspectMethod: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never

/** A value that shows itself: as a small page in a notebook, as aligned text on a terminal. */
export abstract class Shown {
  /** Both forms, made when somebody looks. */
  protected abstract view(): TextAndHtml

  /** The forms that a notebook shows. */
  [displayMethod](): TextAndHtml { return this.view() }
  /** @internal */
  [inspectMethod](): string { return this.toString() }
  /** The text form. */
  toString(): string { return this.view()['text/plain'] }
}
