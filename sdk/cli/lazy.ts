/**
 * Parts that load the native addon, libtorch or the tokenizer library: loaded by the command that needs them, at the time
 * when it does, so that `fettle help` and the front of `fettle run` stay light.
 */
export const lazy = {
  native: () => require('fettle-native') as typeof import('fettle-native'),
  resolve: () => require('../models/hub/resolve') as typeof import('../models/hub/resolve'),
  weights: () => require('../models/weights') as typeof import('../models/weights'),
  load: () => require('../models/load') as typeof import('../models/load'),
  decoder: () => require('../models/decoder') as typeof import('../models/decoder'),
  device: () => require('../models/device') as typeof import('../models/device'),
  blocks: () => require('../models/blocks/fused') as typeof import('../models/blocks/fused'),
  adapter: () => require('../adapters/adapter') as typeof import('../adapters/adapter'),
  encode: () => require('../data/encode') as typeof import('../data/encode'),
  tokenizers: () => require('../tokenizers') as typeof import('../tokenizers'),
  answerText: () => require('../tokenizers/answer-text') as typeof import('../tokenizers/answer-text'),
  generate: () => require('../train/generate') as typeof import('../train/generate'),
  merge: () => require('../export/merge') as typeof import('../export/merge'),
  mergeRanks: () => require('../export/merge-ranks') as typeof import('../export/merge-ranks'),
  reshard: () => require('../export/reshard') as typeof import('../export/reshard'),
  convert: () => require('../export/convert') as typeof import('../export/convert'),
  traceMesh: () => require('../parallel/trace') as typeof import('../parallel/trace'),
  upload: () => require('../export/upload') as typeof import('../export/upload'),
  estimate: () => require('../estimate') as typeof import('../estimate'),
  trace: () => require('../train/trace') as typeof import('../train/trace'),
}
