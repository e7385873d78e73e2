import { familyCase } from '../../support/family'

for (const name of ['opt-125m-style', 'opt-350m-style', 'opt-no-biases', 'opt-wide-embedding', 'opt-no-final-norm', 'opt-norm-after-untied']) familyCase(name, 'transformers')
