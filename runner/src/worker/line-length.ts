import { MAX_LINE_BYTES } from './tty-modes.ts'

/** Ends of a line, keys that take it back (Ctrl-U), and keys that end or interrupt its reading. */
const ENDS = new Set([0x0a, 0x0d, 0x15, 0x03, 0x04, 0x1a, 0x1c])
const BACKSPACE = 0x7f

/** The length of the line that is being typed, as a terminal with the usual keys counts it. */
export class LineLength {
  private bytes = 0
  private isTooLong = false

  /** Whether a line became longer with these bytes than a terminal holds; once for each line. */
  add(typed: Uint8Array): boolean {
    let became = false
    for (const byte of typed) {
      this.bytes = ENDS.has(byte) ? 0 : Math.max(0, this.bytes + (byte === BACKSPACE ? -1 : 1))
      if (this.bytes === 0) this.isTooLong = false
      if (this.bytes <= MAX_LINE_BYTES || this.isTooLong) continue
      this.isTooLong = became = true
    }
    return became
  }
}
