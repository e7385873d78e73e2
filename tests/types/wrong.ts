// Each line marked `// error` must be refused by the types, and no other.
import { attach, sft, checkpoints, dataset, model } from 'fettle'

const b = sft('m')
b.lora({ rnk: 8 }) // error
b.lora({ rank: '8' }) // error
b.lora({ targets: 5 }) // error
b.learningRate('1e-4') // error
b.schedule('cosin') // error
b.evaluate({}) // error
b.evaluate({ each: 'day' }) // error
b.evaluate({ every: 5, each: 'epoch' }) // error
b.sample({ prompts: ['a'] }) // error
b.sample({ every: 5, maxTokens: 3 }) // error
b.save({ each: 'epoch', keep: '2' }) // error
b.device('tpu') // error
b.resume(false) // error
b.plan.seed = 3 // error
b.sharding({ stage: 4 }) // error
b.lorra() // error
sft() // error
b.save({ keep: 1 })
b.start().then((run) => run.generate(5)) // error
b.adam({ beta_1: 0.9 }) // error
b.log({}) // error
b.data() // error
b.epochs('3') // error
b.bf16(false) // error
b.start({ detach: true }) // error
b.start({ hosts: 'a' }) // error
b.start({ hosts: ['a:2'], detached: true }) // error
b.start().then((run) => run.set({ learningRat: 1 })) // error
b.start().then((run) => run.set({ learningRate: '1e-4' })) // error
b.start().then((run) => run.set()) // error
b.start().then((run) => run.pause(1)) // error
b.start().then((run) => run.unpause()) // error
attach(5) // error
attach('output').then((run) => run.set({ lr: 1 })) // error
model(5) // error
model('m', { lora: { rnk: 4 } }) // error
model('m').then((info) => { info.layers = 3 }) // error
dataset('data') // error
dataset('data', { model: 'm', maxlength: 4 }) // error
dataset('data', { model: 'm', split: 'test' }) // error
dataset(b, { model: 'm' }) // error
dataset(b).then((data) => data.rows('0')) // error
checkpoints('output', { verfy: true }) // error
b.inspect({ rows: 3 }) // error
b.lora({ rankPattern: { q_proj: '4' } }) // error
b.prefix({ tokns: 4 }) // error
b.best({ load: 'yes' }) // error
b.fp16({ level: 'O3' }) // error
b.recompute('half') // error
b.resume(true, { data: 'skip' }) // error
