import { describe, expect, test } from '@jest/globals'
import { FlightWindow } from './flight-window.ts'

const KIB = 1024

/** A reader that is given all that the window lets through. */
class Reader {
  ms = 0
  sent = 0
  read = 0
  readonly window = new FlightWindow({
    minBytes: 64 * KIB,
    startBytes: 1024 * KIB,
    maxBytes: 1024 * KIB,
    targetMs: 100,
    clock: () => this.ms,
  })

  /** Reads `bytesPerMs` for so long, and acknowledges each `everyBytes`. Returns what is on its way at the end. */
  run(bytesPerMs: number, forMs: number, everyBytes = 1): number {
    let acknowledged = this.read
    for (const end = this.ms + forMs; this.ms < end;) {
      if (acknowledged + this.window.bytes > this.sent) this.window.sent((this.sent = acknowledged + this.window.bytes))
      this.ms++
      this.read = Math.min(this.sent, this.read + bytesPerMs)
      if (this.read - acknowledged < everyBytes) continue
      acknowledged = this.read
      this.window.acknowledged(acknowledged)
    }
    return this.sent - this.read
  }
}

describe('the bytes in flight to a reader', () => {
  test.each([
    ['a very slow reader', 100, 64 * KIB],
    ['a slow reader', 1_000, 120_000],
    ['an average reader', 4_000, 420_000],
    ['a fast reader', 100_000, 1024 * KIB],
  ])('are about 100 ms of its reading, and never below the minimum: %s', (_, bytesPerMs, most) => {
    const reader = new Reader()
    expect(reader.run(bytesPerMs, 15_000, 32 * KIB)).toBeLessThanOrEqual(most)
    expect(reader.read).toBeGreaterThan(0.9 * Math.min(15_000 * bytesPerMs, reader.sent - 1024 * KIB))
  })

  test('adapt within the time of the first window, and again when the reader changes', () => {
    const reader = new Reader()
    reader.run(1_000, 1_200)
    expect(reader.window.bytes).toBeLessThan(120_000)
    reader.run(100_000, 300)
    expect(reader.window.bytes).toBe(1024 * KIB)
    reader.run(1_000, 1_200)
    expect(reader.window.bytes).toBeLessThan(120_000)
  })

  test('do not change with bytes that do not fill the window, nor with a pause', () => {
    const reader = new Reader()
    for (let i = 1; i < 100; i++) {
      reader.window.sent(i * 100)
      reader.ms += 1_000
      reader.window.acknowledged(i * 100)
      reader.ms += 60_000
    }
    expect(reader.window.bytes).toBe(1024 * KIB)
  })

  test('are not measured across a jump', () => {
    const reader = new Reader()
    reader.window.sent(1024 * KIB)
    reader.ms = 60_000
    reader.window.jump(9_000_000)
    reader.window.sent(9_000_100)
    reader.window.acknowledged(9_000_100)
    expect(reader.window.bytes).toBe(1024 * KIB)
  })
})
