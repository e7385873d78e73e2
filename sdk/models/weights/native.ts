type Native = typeof import('fettle-native')

/** fettle-native, loaded at the first read and not before: the front opens checkpoints for their configuration alone. */
export function native(): Native {
  return require('fettle-native') as Native
}
