import { familyCase } from '../../support/family'

for (const name of ['mistral', 'mistral-window', 'qwen2', 'qwen2-window', 'qwen3', 'qwen3-windows', 'glm4-9b-style', 'glm4-0414', 'gemma', 'phi3-window', 'phi4-mini-style']) familyCase(name, 'transformers')
