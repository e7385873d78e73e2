import { familyCase } from '../../support/family'

for (const name of ['bloom', 'bloom-12-heads', 'bloom-5-heads-untied']) familyCase(name, 'transformers')
