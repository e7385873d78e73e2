import { familyCase } from '../../support/family'

for (const name of ['chatglm2-6b', 'chatglm2-6b-8-heads']) familyCase(name, 'PaddleNLP')
