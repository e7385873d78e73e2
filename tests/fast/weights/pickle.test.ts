import * as assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { scope } from 'fettle-native'
import { readSafetensors } from 'fettle/dist/models/weights'
import { PickleFile } from 'fettle/dist/models/weights/pickle'
import { fixture } from '../../support/paths'
import { refusal } from '../../support/refusal'
import { temporaryFolder } from '../../support/tiny'

const made = (name: string): string => fixture('pickle', name)

function same(file: string, reference: string): void {
  scope(() => {
    const expected = readSafetensors(reference), seen = new PickleFile(file)
    assert.deepEqual([...seen.tensors.keys()].sort(), [...expected.keys()].sort())
    for (const [name, tensor] of expected) {
      const got = seen.read(name), table = seen.tensors.get(name)!
      assert.deepEqual([table.shape, table.dtype, got.shape, got.dtype], [tensor.shape, tensor.dtype, tensor.shape, tensor.dtype], name)
      assert.ok(Buffer.from(got.toBytes()).equals(Buffer.from(tensor.toBytes())), name)
    }
    seen.close()
  })
}

describe('pickled weights hold what their safetensors hold', () => {
  for (const file of ['zip.bin', 'legacy.bin', 'wrapped.bin']) test(`torch: ${file}`, () => same(made(file), made('torch.safetensors')))
  for (const protocol of [2, 4, 5]) test(`arrays of numpy, protocol ${protocol}`, () => same(made(`protocol-${protocol}.pdparams`), made('numpy.safetensors')))
})

/** A pickle of protocol 2 by its opcodes. */
const pickle = (...parts: (string | readonly number[] | Uint8Array)[]): Buffer =>
  Buffer.concat([Buffer.from([0x80, 2]), ...parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part))), Buffer.from('.')])
const item = (value: string): string => `}X\x01\x00\x00\x00w${value}s`

function written(t: TestContext, content: Uint8Array): string {
  const file = path.join(temporaryFolder(t), 'pytorch_model.bin')
  writeFileSync(file, content)
  return file
}

const opened = (t: TestContext, content: Uint8Array) => () => new PickleFile(written(t, content))

describe('a pickle is data', () => {
  const names = ['posix.system', 'builtins.eval', 'builtins.getattr', 'torch.storage._load_from_bytes', 'torch.hub.load', 'functools.partial', 'numpy.load', 'os.path.join', 'torch.toString', 'builtins.__proto__']
  for (const full of names) {
    test(`${full} is refused by its name`, (t) => {
      const at = full.lastIndexOf('.')
      const call = item(`c${full.slice(0, at)}\n${full.slice(at + 1)}\nX\x02\x00\x00\x00ls\x85R`)
      refusal(opened(t, pickle(call)), 'model.pickle', full, 'not read', 'pytorch_model.bin')
    })
  }

  test('what a known name makes is checked', (t) => {
    refusal(opened(t, pickle(item('ctorch._utils\n_rebuild_tensor_v2\nK\x01\x85R'))), 'model.pickle', '_rebuild_tensor_v2', 'makes no tensor')
    refusal(opened(t, pickle(item('cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R'))), 'model.pickle', 'numpy.dtype')
    refusal(opened(t, pickle(item('K\x01K\x02R'))), 'model.pickle', 'call of 1')
    refusal(opened(t, pickle(item('K\x01Q'))), 'model.pickle', 'no storage')
  })

  test('instances, extensions and unknown opcodes are refused', (t) => {
    for (const opcode of ['i', 'o', '\x82', '\x92', '\x97', '\xff']) refusal(opened(t, pickle(opcode)), 'model.pickle', 'opcode 0x')
    refusal(opened(t, Buffer.from([0x80, 9, 0x2e])), 'model.pickle', 'protocol 9')
  })

  test('broken stacks, memos and lengths are errors, not crashes', (t) => {
    for (const [code, word] of [['0', 'empty stack'], ['a', 'empty stack'], ['(t(u', 'no dictionary'], ['t', 'never opened'], ['h\x07', 'never kept'], ['K\x01(K\x02e', 'no list'], ['}(K\x01u', 'without a value']] as const) {
      refusal(opened(t, pickle(code)), 'model.pickle', word)
    }
    refusal(opened(t, pickle('X\xff\xff\xff\x7f')), 'model.pickle', 'cut off')
    refusal(opened(t, pickle('\x8e', new Uint8Array(8).fill(0xff))), 'model.pickle', 'more than any file holds')
    refusal(opened(t, pickle('\x8b\xff\xff\xff\xff')), 'model.pickle', 'number of')
    refusal(opened(t, Buffer.alloc(0)), 'model.pickle')
    refusal(opened(t, pickle('N')), 'model.pickle', 'no dictionary of tensors')
    refusal(opened(t, pickle(item('K\x01'))), 'model.pickle', 'holds no tensor')
    // A list that holds itself is walked once.
    refusal(opened(t, pickle(']q\x00h\x00a')), 'model.pickle', 'no dictionary of tensors')
  })

  test('every cut of a sound file is refused', (t) => {
    for (const name of ['legacy.bin', 'zip.bin']) {
      const whole = readFileSync(made(name)), ends = Array.from({ length: 60 }, (_, i) => Math.floor((i * whole.length) / 60))
      for (const end of ends) refusal(opened(t, whole.subarray(0, end)), 'model.pickle')
    }
  })

  test('a view beyond its storage is refused by the name of its tensor', (t) => {
    const whole = readFileSync(made('zip.bin'))
    // The shape (6, 4) of the first tensor, as opcodes: K 6 K 4 TUPLE2.
    const at = whole.indexOf(Buffer.from('K\x06K\x04\x86', 'latin1'))
    assert.ok(at > 0)
    whole[at + 1] = 200
    refusal(opened(t, whole), 'model.pickle', 'tensor "whole"', 'reaches to value')
  })
})
