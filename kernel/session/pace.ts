/** Says when something may be sent again, so that it stays below a rate whatever its size. */
export class Pace {
  private next = 0

  constructor(private readonly bytesPerSecond: number, private readonly clock: () => number = Date.now) {}

  get due(): boolean { return this.clock() >= this.next }

  /** Tells that `bytes` were sent; the next may go after what they cost, and after `least` ms. */
  spent(bytes: number, least: number): void {
    this.next = this.clock() + Math.max(least, bytes / this.bytesPerSecond * 1000)
  }

  /** What comes next need not wait: a person did something. */
  now(): void { this.next = 0 }
}
