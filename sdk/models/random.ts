/**
 * A small seeded generator (sfc32) of its own stream: sampling and initial values never draw from the generator that
 * dropout uses, and give the same numbers on every device.
 */
export class Random {
  private a: number
  private b: number
  private c: number
  private counter = 1

  /** @param stream independent sequences of one seed, such as one for each row of a batch */
  constructor(seed: number, stream = 0) {
    // Both halves of the seed count; the first draws mix them.
    this.a = seed | 0
    this.b = Math.floor(seed / 2 ** 32) | 0
    this.c = (0x9e3779b9 + stream) | 0
    for (let i = 0; i < 15; i++) this.uint32()
  }

  uint32(): number {
    const t = (this.a + this.b + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (((this.c << 21) | (this.c >>> 11)) + t) | 0
    return t >>> 0
  }

  /** Uniform in [0, 1). */
  uniform(): number { return this.uint32() / 2 ** 32 }

  /** Of mean 0 and variance 1: Box and Muller's way from two uniform draws. */
  normal(): number { return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform()) }
}
