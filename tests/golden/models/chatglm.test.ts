import { familyCase } from '../../support/family'

for (const name of ['chatglm-6b', 'chatglm-6b-deeper']) familyCase(name, 'PaddleNLP')
