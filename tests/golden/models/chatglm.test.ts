import { familyCase } from '../../support/family'

for (const name of ['chatglm-6b', 'chatglm-6b-deeper', 'chatglm-3-heads']) familyCase(name, 'PaddleNLP')
