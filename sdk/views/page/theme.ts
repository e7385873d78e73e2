/** Whether the page around `element` is dark: its own word where it has one (JupyterLab, VS Code), else the reader's preference. */
function isDark(): boolean {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset
  if (jpThemeLight !== undefined) return jpThemeLight === 'false'
  if (vscodeThemeKind !== undefined) return !/light/.test(vscodeThemeKind)
  return matchMedia('(prefers-color-scheme: dark)').matches
}

/** Colours of the charts. */
export interface ChartColours {
  readonly faint: string
  readonly main: string
  readonly second: string
  readonly third: string
  readonly thirdFaint: string
  readonly grid: string
  readonly text: string
  readonly paper: string
}

/** Blue, orange and green that stay apart for the colour-blind, in a tone for each ground. */
export const chartColours: Readonly<Record<'light' | 'dark', ChartColours>> = {
  light: { faint: 'rgba(45,110,180,0.32)', main: '#2d6eb4', second: '#c2631a', third: '#2f8468', thirdFaint: 'rgba(47,132,104,0.34)', grid: 'rgba(110,120,130,0.18)', text: '#5b6570', paper: '#ffffff' },
  dark: { faint: 'rgba(116,172,230,0.34)', main: '#74ace6', second: '#eb9d5c', third: '#6cc3a3', thirdFaint: 'rgba(108,195,163,0.34)', grid: 'rgba(160,170,180,0.18)', text: '#a9b2bc', paper: '#22272e' },
}

/** Keeps `data-theme` of an element in step with its page, and tells when it changes. */
export class Theme {
  private readonly query = matchMedia('(prefers-color-scheme: dark)')
  private readonly observer = new MutationObserver(() => this.look())
  private readonly look = () => {
    const name = isDark() ? 'dark' : 'light'
    if (name === this.name) return
    this.name = name
    this.element.dataset.theme = name
    this.changed()
  }
  name: 'light' | 'dark'

  constructor(private readonly element: HTMLElement, private readonly changed: () => void) {
    this.name = isDark() ? 'dark' : 'light'
    element.dataset.theme = this.name
    this.query.addEventListener('change', this.look)
    this.observer.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name', 'data-vscode-theme-kind', 'class'] })
  }

  get colours(): ChartColours { return chartColours[this.name] }

  dispose(): void {
    this.query.removeEventListener('change', this.look)
    this.observer.disconnect()
  }
}
