import { familyCase } from '../../support/family'

for (const name of ['opt-125m-style', 'opt-350m-style']) familyCase(name, 'transformers')
