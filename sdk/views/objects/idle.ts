import { defaultGeneration, defaultPlan } from '../../plan/defaults'
import type { Plan } from '../../plan/plan'
import { whole } from '../format'

interface Idle {
  readonly holds: (plan: Plan, steps: number | null) => boolean
  readonly says: (plan: Plan, steps: number | null) => string
}

const warmup = (plan: Plan): number => plan.schedule.warmupSteps

/** Settings that are without effect beside the others, or say something else than what one likely means. */
const rules: readonly Idle[] = [
  { holds: (p) => p.schedule.type !== 'cosine' && p.schedule.cycles !== 0.5, says: (p) => `cycles ${p.schedule.cycles} changes nothing: the schedule is ${p.schedule.type}.` },
  { holds: (p) => p.neftune === 0, says: () => 'NEFTune with alpha 0 adds nothing.' },
  { holds: (p) => p.best.metric !== null && !p.best.load && p.best.patience === null, says: () => 'The metric of the best checkpoint changes nothing: it is neither loaded nor waited for.' },
  { holds: (p) => p.data.path === null, says: () => "No data yet: .data('folder with train.json')." },
  { holds: (p) => !p.train, says: (p) => p.evalAtEnd ? 'Nothing trains: this run only evaluates.' : 'Nothing trains and nothing is evaluated: such a run is refused.' },
  { holds: (p) => p.schedule.type === 'constant' && (warmup(p) > 0 || p.schedule.warmupRatio > 0), says: () => "The warm-up changes nothing: schedule 'constant' has none ('constant_with_warmup' rises first)." },
  { holds: (p) => warmup(p) > 0 && p.schedule.warmupRatio > 0, says: () => 'warmupRatio changes nothing: warmupSteps wins.' },
  { holds: (p, steps) => steps !== null && steps > 0 && p.schedule.type !== 'constant' && warmup(p) >= steps, says: (p, steps) => `The warm-up of ${whole(warmup(p))} steps takes the whole run of ${whole(steps!)}: the full learning rate is never reached.` },
  { holds: (p) => p.steps !== null && p.epochs !== defaultPlan(p.model).epochs, says: (p) => `epochs ${p.epochs} changes nothing: steps ${whole(p.steps!)} wins.` },
  { holds: (p) => p.sample.cadence.by === 'no' && p.sample.prompts.length > 0, says: () => 'Sample prompts change nothing: samples are off (.sample({ every: 50 })).' },
  { holds: (p) => p.save.cadence.by === 'no' && p.save.keep !== 2, says: () => 'keep changes little: no checkpoints are written on the way, only those that you ask for.' },
  { holds: (p) => p.data.system !== null && p.data.template === 'none', says: () => "The system message changes nothing: template 'none' has no place for one." },
  { holds: (p, steps) => steps !== null && steps > 0 && p.evaluate.by === 'steps' && p.evaluate.every > steps && !p.evalAtEnd, says: (p, steps) => `It is never evaluated: each ${whole((p.evaluate as { every: number }).every)} steps is more than the run's ${whole(steps!)}.` },
  { holds: (p) => p.train && p.sample.generation.temperature === 0 && (p.sample.generation.topK !== defaultGeneration.topK || p.sample.generation.topP !== defaultGeneration.topP), says: () => 'topK and topP change nothing: at temperature 0 the likeliest token is taken.' },
  { holds: (p) => p.mesh.sequenceParallel && p.mesh.tp === 1, says: () => 'Sequence parallelism changes nothing: it divides what tensor-parallel ranks hold, and tp is 1.' },
  { holds: (p) => p.train && p.mesh.pp > p.batch.accumulate, says: (p) => `The pipeline mostly waits: a step's ${p.batch.accumulate === 1 ? 'one batch is' : `${whole(p.batch.accumulate)} batches are`} fewer than its ${whole(p.mesh.pp)} stages (.accumulate(${whole(4 * p.mesh.pp)})).` },
]

/** In words, what of a plan has no effect or surprises. `steps`: of the whole run, where they are known. */
export function idleSettings(plan: Plan, steps: number | null = plan.steps): string[] {
  return rules.filter(({ holds }) => holds(plan, steps)).map(({ says }) => says(plan, steps))
}
