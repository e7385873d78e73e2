import type { PlotlyLike } from '../../sdk/views/page/api'

declare global {
  interface Window { fettlePlotly?: PlotlyLike }
}

/** Known while the script runs, and never again. */
const here = (document.currentScript as HTMLScriptElement | null)?.src ?? ''

/** The build puts the name in. */
const file = '__PLOTLY_FILE__'

let loading: Promise<PlotlyLike> | null = null

/** Plotly, from a file beside this one; fetched when the first chart is drawn. */
export function loadPlotly(): Promise<PlotlyLike> {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script')
    script.src = new URL(file, here).href
    script.onload = () => window.fettlePlotly ? resolve(window.fettlePlotly) : reject(new Error(`${script.src} brought no Plotly`))
    script.onerror = () => { loading = null; reject(new Error(`cannot load ${script.src}; install the extension again: npx fettle-kernel install`)) }
    document.head.append(script)
  })
  return loading
}
