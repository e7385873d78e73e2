import type { BoardPanel, ChatPanel, BoardHost, PlotlyLike } from '../../sdk/views/page/api'

export function mountBoard(element: HTMLElement, plotly: () => Promise<PlotlyLike>): BoardPanel {
  const line = document.createElement('p'), chart = document.createElement('div'), buttons = document.createElement('div'), note = document.createElement('p')
  chart.dataset.fettle = 'board/loss'
  element.append(line, chart, buttons, note)
  let host: BoardHost | null = null
  let controls: readonly string[] = []
  const draw = () => {
    buttons.replaceChildren(...(host ? controls : []).map((name) => {
      const button = document.createElement('button')
      button.textContent = name
      button.onclick = () => { host!.command(name === 'set' ? { name, learningRate: 1e-4 } : { name } as never).then((text) => { note.textContent = text }, (e: Error) => { note.textContent = e.message }) }
      return button
    }))
  }
  return {
    update(state) {
      line.textContent = `${state.status} step ${state.step} of ${state.totalSteps} rate ${state.learningRate}`
      line.className = `fettle-state fettle-${state.status}`
      if (controls.join() !== state.controls.join()) { controls = state.controls; draw() }
      void plotly().then((p) => p.react(chart, [{ type: 'scatter', x: state.series.step, y: state.series.loss }], { height: 250, title: { text: state.title } }, {}))
    },
    updateSamples() {}, setHost(given) { host = given; draw() }, dispose() {},
  }
}

export function mountChat(element: HTMLElement): ChatPanel {
  return { update(state) { element.textContent = JSON.stringify(state) }, setHost() {}, dispose() {} }
}
