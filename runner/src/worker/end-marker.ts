import { randomBytes } from 'node:crypto'

/**
 * A mark in front of the first byte of a terminal's output, or behind the last. It is an operating system command that
 * terminals ignore, with 128 random bits in upper-case hexadecimal, so that no output processing of a terminal (olcuc,
 * onlcr) changes it.
 */
export function createMarker(): Buffer {
  return Buffer.from(`\x1b]7681;${randomBytes(16).toString('hex').toUpperCase()}\x1b\\`)
}

/** Looks for a marker in a stream, however it is split over reads. */
export class MarkerScanner {
  private readonly marker: Buffer
  private held: Buffer = Buffer.alloc(0)

  constructor(marker: Buffer) {
    this.marker = marker
  }

  /** The bytes that lie before the marker for certain, and whether it was found. Bytes after it are dropped. */
  push(chunk: Buffer): { bytes: Buffer; found: boolean } {
    const all = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk])
    const at = all.indexOf(this.marker)
    if (at >= 0) {
      this.held = Buffer.alloc(0)
      return { bytes: all.subarray(0, at), found: true }
    }
    const keep = this.partial(all)
    this.held = all.subarray(all.length - keep)
    return { bytes: all.subarray(0, all.length - keep), found: false }
  }

  /** What was held back because it could have been the marker's beginning. */
  rest(): Buffer {
    return this.held
  }

  /** Length of the longest end of `all` that begins the marker. */
  private partial(all: Buffer): number {
    for (let length = Math.min(all.length, this.marker.length - 1); length > 0; length--) {
      if (all.subarray(all.length - length).equals(this.marker.subarray(0, length))) return length
    }
    return 0
  }
}
