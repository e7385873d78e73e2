import { colours, layoutOf, line, type Figure, type Trace } from './figure'
import { seriesOf, smooth, type RunView } from './series'

/** Loss of each step, its moving average, and the evaluation loss where there is one. */
export function lossChart(view: RunView): Figure {
  const raw = seriesOf(view.steps, (event) => event.loss)
  const data: Trace[] = [
    line('loss of the step', raw, { color: colours.faint, width: 1, legend: true }),
    line('smoothed', smooth(raw), { color: colours.main, width: 2, legend: true }),
  ]
  if (view.evals.length > 0)
    data.push(line('held-out', seriesOf(view.evals, (event) => event.loss), { color: colours.second, width: 1.5, markers: 6, legend: true }))
  return { id: 'loss', title: 'Loss', height: 280, data, layout: layoutOf({ height: 280, xTitle: 'step', legend: true }) }
}

function small(id: string, title: string, data: readonly Trace[], yFormat: string, rangemode: 'normal' | 'tozero' = 'tozero'): Figure {
  return { id, title, height: 130, data, layout: layoutOf({ height: 130, yFormat, rangemode, ticks: 3 }) }
}

/** Small charts below the loss: what a glance should find normal. */
export function smallCharts(view: RunView): Figure[] {
  const { steps, evals } = view
  const speed = seriesOf(steps, (event) => event.tokensPerSecond)
  const norm = seriesOf(steps, (event) => event.gradNorm)
  const charts = [
    small('learning-rate', 'Learning rate', [line('learning rate', seriesOf(steps, (event) => event.learningRate), { color: colours.main, width: 1.5, format: '.3~g' })], '~g'),
    small('gradient-norm', 'Gradient norm', [
      line('of the step', norm, { color: colours.faint, width: 1 }), line('smoothed', smooth(norm), { color: colours.main, width: 1.5 })], '~g'),
    small('speed', 'Tokens a second', [
      line('of the step', speed, { color: colours.faint, width: 1, format: ',.0f' }), line('smoothed', smooth(speed), { color: colours.third, width: 1.5, format: ',.0f' })], '~s'),
    small('memory', 'Memory, MiB', [line('memory', seriesOf(steps, (event) => event.memory), { color: colours.third, width: 1.5, format: ',.0f' })], '~s'),
  ]
  if (evals.length > 0)
    charts.push(small('accuracy', 'Held-out token accuracy', [
      line('accuracy', seriesOf(evals, (event) => event.accuracy), { color: colours.second, width: 1.5, markers: 5, format: '.1%' })], '.0%', 'normal'))
  return charts
}
