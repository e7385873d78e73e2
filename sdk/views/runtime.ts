import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { Html } from './html'

/**
 * The script of a page: draws the figures that displays push to `window.fettleBoards` into the elements that carry their
 * names, as soon as both the elements and Plotly are there, and again when the theme changes. The newest figures win.
 */
const runtime = `(() => {
  if (window.fettleRuntime) return
  window.fettleRuntime = true
  const boards = new Map()
  const config = { displayModeBar: false, responsive: true }
  const sizes = new ResizeObserver((entries) => window.fettleLibrary?.then((Plotly) => entries.forEach(({ target }) => {
    if (target.clientWidth > 0 && target.fettleWidth !== target.clientWidth) { target.fettleWidth = target.clientWidth; Plotly.Plots.resize(target) }
  })))
  const themed = (element, layout) => {
    const color = getComputedStyle(element).color
    const [r, g, b] = (color.match(/[\\d.]+/g) || [0, 0, 0]).map(Number)
    const dark = r * 0.3 + g * 0.6 + b * 0.1 > 128
    return { ...layout, autosize: true, font: { ...layout.font, color }, hoverlabel: { bgcolor: dark ? '#22272e' : '#ffffff', font: { color } } }
  }
  const draw = async (name) => {
    const figures = boards.get(name)
    const places = figures.map((figure) => [figure, [...document.querySelectorAll('[data-fettle="' + name + '/' + figure.id + '"]')]])
    if (!window.fettleLibrary || places.some(([, elements]) => elements.length === 0)) return false
    const Plotly = await window.fettleLibrary
    for (const [figure, elements] of places) for (const element of elements) {
      element.closest('.fettle').classList.add('fettle-drawn')
      element.closest('.fettle-charts').style.display = ''
      await Plotly.react(element, structuredClone(figure.data), themed(element, structuredClone(figure.layout)), config)
      sizes.observe(element)
    }
    return true
  }
  // Elements and library may come after the figures: outputs of a notebook are attached in any order.
  const attempt = (name, left) => draw(name).then((drawn) => { if (!drawn && left > 0) setTimeout(() => attempt(name, left - 1), 150) })
  const push = (board) => { boards.set(board.name, board.figures); attempt(board.name, 400) }
  const waiting = window.fettleBoards || []
  window.fettleBoards = { push }
  waiting.forEach(push)
  const again = () => boards.forEach((_, name) => draw(name))
  new MutationObserver(again).observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name', 'class'] })
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again)
})()`

let packed: string | null = null

/** Plotly as gzip and base64, unpacked by the page itself: a third of its size, and no server is asked for it. */
function packedLibrary(): string {
  packed ??= gzipSync(readFileSync(require.resolve('plotly.js-basic-dist-min')), { level: 9 }).toString('base64')
  return packed
}

/**
 * The script element that a page needs once. Plotly is run as a CommonJS module, because a page may have an AMD loader
 * that a plain script would register with instead of giving us the library.
 */
export function libraryHtml(): Html {
  return new Html(`<script type="text/javascript">
window.fettleLibrary = window.fettleLibrary || (async () => {
  const bytes = Uint8Array.from(atob('${packedLibrary()}'), (c) => c.charCodeAt(0))
  const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text()
  const module = { exports: {} }
  new Function('module', 'exports', text)(module, module.exports)
  return module.exports
})();
${runtime}
</script>`)
}
