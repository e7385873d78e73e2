import { familyCase } from '../../support/family'

for (const name of ['mistral', 'qwen2', 'qwen3', 'glm4-9b-style']) familyCase(name, 'transformers')
