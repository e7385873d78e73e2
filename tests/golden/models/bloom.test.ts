import { familyCase } from '../../support/family'

for (const name of ['bloom', 'bloom-12-heads']) familyCase(name, 'transformers')
