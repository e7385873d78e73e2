// A front of its own for tests that kill it: starts a run on two ranks and tells its worker's id.
import { sft } from 'fettle'

const { model, data, out } = JSON.parse(process.argv[2]) as { model: string; data: string; out: string }
void sft(model).data(data, { maxLength: 64, srcLength: 32, template: 'none' }).batch(2).steps(100_000).device('cpu').output(out).save({ every: 5 }).tp(2).start({ board: false })
  .then((run) => process.send!(run.pid))
