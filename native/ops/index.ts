// Made by native/setup/generate-operators.mjs from operators.txt; edit that, not this.
import { pointwise } from './pointwise'
import { compare } from './compare'
import { reduce } from './reduce'
import { shape } from './shape'
import { indexing } from './indexing'
import { create } from './create'
import { random } from './random'
import { linear } from './linear'
import { nn } from './nn'
import { foreach } from './foreach'

/**
 * ATen operators by name, typed from their schemas. Positional parameters stand in schema order, keyword-only ones in a last
 * options object; out variants (`mm_out`) take the result tensor first. In-place and out variants return the tensor passed.
 */
export const ops = { ...pointwise, ...compare, ...reduce, ...shape, ...indexing, ...create, ...random, ...linear, ...nn, ...foreach }
