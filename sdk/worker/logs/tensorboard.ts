import * as fs from 'node:fs'
import { hostname } from 'node:os'
import * as path from 'node:path'
import type { Scalar, ScalarLog } from './scalars'

/**
 * An event file that TensorBoard reads (and W&B, by `wandb sync --sync-tensorboard`): TFRecords of Event messages, tensorflow's
 * core/util/event.proto. What the registry has for it is TensorFlow itself, so that these few lines write it.
 */
export class TensorBoardLog implements ScalarLog {
  private readonly fd: number

  /** @param startStep first step of this run: what an earlier run of the folder logged from there on is dropped by TensorBoard */
  constructor(folder: string, startStep: number, time = Date.now()) {
    fs.mkdirSync(folder, { recursive: true })
    this.fd = fs.openSync(path.join(folder, `events.out.tfevents.${Math.floor(time / 1000)}.${hostname()}.${process.pid}.fettle`), 'a')
    this.append(eventMessage(time, 0, text(3, 'brain.Event:2')))
    // SessionLog with status START.
    if (startStep > 0) this.append(eventMessage(time, startStep, message(7, varint(1, 1))))
  }

  write(scalars: readonly Scalar[], time: number): void {
    for (const scalar of scalars) this.append(scalarMessage(scalar, time))
  }

  close(): void { fs.closeSync(this.fd) }

  private append(data: Buffer): void { fs.writeSync(this.fd, record(data)) }
}

/** One figure as an Event. */
export function scalarMessage({ name, step, value }: Scalar, time: number): Buffer {
  return eventMessage(time, step, message(5, message(1, Buffer.concat([text(1, name), float(2, value)]))))
}

/** Length, its checksum, data, its checksum. */
export function record(data: Buffer): Buffer {
  const length = Buffer.alloc(8), sum = (bytes: Buffer): Buffer => {
    const out = Buffer.alloc(4)
    out.writeUInt32LE(masked(crc32c(bytes)))
    return out
  }
  length.writeBigUInt64LE(BigInt(data.length))
  return Buffer.concat([length, sum(length), data, sum(data)])
}

function eventMessage(time: number, step: number, what: Buffer): Buffer {
  const wall = Buffer.alloc(9)
  wall[0] = (1 << 3) | 1
  wall.writeDoubleLE(time / 1000, 1)
  return Buffer.concat([wall, step === 0 ? Buffer.alloc(0) : varint(2, step), what])
}

function varint(field: number, value: number): Buffer { return Buffer.concat([number(field << 3), number(value)]) }

function number(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

function message(field: number, data: Buffer): Buffer { return Buffer.concat([number((field << 3) | 2), number(data.length), data]) }
function text(field: number, value: string): Buffer { return message(field, Buffer.from(value)) }
function float(field: number, value: number): Buffer {
  const data = Buffer.alloc(5)
  data[0] = (field << 3) | 5
  data.writeFloatLE(value, 1)
  return data
}

/** The checksum that TFRecords use (Castagnoli's polynomial, reflected). */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value
})

function crc32c(data: Buffer): number {
  let crc = 0xffffffff
  for (const byte of data) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff]
  return (crc ^ 0xffffffff) >>> 0
}

/** Rotated and moved, so that a checksum of data that holds checksums is sound. */
function masked(crc: number): number { return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0 }
