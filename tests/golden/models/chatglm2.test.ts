import { familyCase } from '../../support/family'

for (const name of ['chatglm2-6b', 'chatglm2-6b-8-heads', 'chatglm2-1-group', 'chatglm2-3-groups', 'chatglm2-biases']) familyCase(name, 'PaddleNLP')
