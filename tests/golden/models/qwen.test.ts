import { familyCase } from '../../support/family'

for (const name of ['qwen-7b', 'qwen-7b-past-seq-length', 'qwen-3-doublings']) familyCase(name, 'PaddleNLP')
