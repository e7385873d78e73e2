import type { DataFacts, ModelFacts } from '../../inspect/types'
import { toArguments } from '../../plan/arguments/write'
import { worldSize } from '../../parallel/mesh/mesh'
import { dataRanks, meshName, meshShape } from '../../parallel/mesh/shape'
import type { Plan } from '../../plan/plan'
import { clip, digits, rateText, whole } from '../format'
import { html, type Html } from '../html'
import type { TextAndHtml } from '../tables'
import { dataLead, savedText } from './data'
import { bytesText, factsHtml, factsText, frame, heading, notesHtml, notesText } from './frame'
import { idleSettings } from './idle'
import { trainableText } from './model'
import { cadenceText, settingGroups, type SettingGroup } from './settings'

/** What was found out about a plan beside itself. */
export interface PlanFacts {
  readonly model?: ModelFacts
  readonly data?: DataFacts | null
  readonly steps?: number | null
  readonly epochs?: number | null
}

function title(plan: Plan): string {
  if (!plan.train) return `Evaluates ${plan.model}`
  const { lora, prefix } = plan, from = (lora ?? prefix)?.from ?? null
  if (lora === null && prefix === null) return `Trains all weights of ${plan.model}`
  if (from !== null) return `Trains the ${lora === null ? 'prefix' : 'adapter'} of ${from} further, on ${plan.model}`
  return lora === null ? `Trains a prefix of ${prefix!.tokens} tokens on ${plan.model}` : `Trains a ${lora.rsLora ? 'rs' : ''}${lora.dora ? 'DoRA' : 'LoRA'} adapter of rank ${lora.rank} on ${plan.model}`
}

/** `300 steps of 16 rows (0.96 epochs)`, or of packs. */
function lengthText(plan: Plan, { steps, epochs }: PlanFacts): string {
  if (!plan.train) return 'no steps'
  const factors = [plan.batch.size, plan.batch.accumulate, dataRanks(plan.mesh)].filter((factor, i) => i === 0 || factor > 1)
  const rows = factors.reduce((product, factor) => product * factor, 1)
  const perStep = `${whole(rows)} ${plan.data.packing ? 'pack' : 'row'}${rows === 1 ? '' : 's'}${factors.length > 1 ? ` (${factors.join(' × ')})` : ''}`
  const known = plan.steps ?? steps ?? null
  if (known === null) return `${plan.epochs} epoch${plan.epochs === 1 ? '' : 's'}, ${perStep} a step`
  return `${whole(known)} step${known === 1 ? '' : 's'} of ${perStep}${epochs ? `, ${Number(digits(epochs, 3))} epoch${epochs === 1 ? '' : 's'}` : ''}`
}

function leads(plan: Plan, facts: PlanFacts): string[] {
  const { optimizer, schedule } = plan
  const rate = `learning rate ${rateText(optimizer.learningRate)}, ${schedule.type.replace(/_/g, ' ')}`
  return [
    `on ${plan.data.path ?? 'no data yet'} · ${lengthText(plan, facts)}${plan.train ? ` · ${rate}` : ''}`,
    ...(worldSize(meshShape(plan.mesh)) === 1 ? [] : [`${whole(worldSize(meshShape(plan.mesh)))} ranks: ${meshName(plan.mesh)}`]),
    `${plan.precision} on ${plan.device === 'auto' ? 'the best device' : plan.device} · evaluated ${cadenceText(plan.evaluate)}${plan.evalAtEnd ? ' and at the end' : ''} · into ${plan.output}`,
  ]
}

function found({ model, data }: PlanFacts): [string, string][] {
  return [
    ...(model ? [['model', `${model.layers} layers, ${trainableText(model)}, ${bytesText(model.bytes)} on disk`] as [string, string]] : []),
    ...(data ? [['data', dataLead(data)], ['packing saves', savedText(data)]] as [string, string][] : []),
  ]
}

function groupHtml({ title: name, settings }: SettingGroup): Html {
  return html`<table><caption>${name}</caption><tbody>${settings.map(({ name: setting, value, changed }) =>
    html`<tr class="${changed ? 'fettle-set' : 'fettle-quiet'}"><th scope="row">${setting}</th><td>${clip(value, 400)}</td></tr>`)}</tbody></table>`
}

/** What a plan will do in a few words; its settings, the changed ones strong; what has no effect; the same as an argument file. */
export function planView(plan: Plan, facts: PlanFacts = {}): TextAndHtml {
  const groups = settingGroups(plan)
  const all = groups.flatMap(({ settings }) => settings)
  const changed = all.filter((setting) => setting.changed)
  const notes = [...idleSettings(plan, plan.steps ?? facts.steps ?? null), ...(facts.model?.warnings ?? []), ...(facts.data?.notes ?? []).map(({ message }) => message)]
  const lines = leads(plan, facts), more = found(facts)
  const file = JSON.stringify(toArguments(plan), null, 2)
  const width = Math.max(...changed.map(({ name }) => name.length))
  return frame(
    html`${heading(title(plan), html`${lines.map((line) => html`<div>${clip(line, 600)}</div>`)}`)}${more.length > 0 && factsHtml(more)}${notesHtml(notes)}<details open><summary>${all.length} settings, ${changed.length} of them set (strong)</summary><div class="fettle-columns">${groups.map(groupHtml)}</div></details><details><summary>the same as an argument file</summary><pre>${file.length > 20_000 ? `${file.slice(0, 20_000)}…` : file}</pre></details>`,
    [title(plan), ...lines.map((line) => `  ${clip(line, 200)}`), more.length > 0 && factsText(more).replace(/^/gm, '  '), notesText(notes), '',
      ...groups.flatMap(({ title: name, settings }) => settings.some((setting) => setting.changed)
        ? [name, ...settings.filter((setting) => setting.changed).map((setting) => `  ${setting.name.padEnd(width)}  ${clip(setting.value, 100)}`)] : []),
      `(${all.length - changed.length} more at their defaults: .plan)`],
  )
}
