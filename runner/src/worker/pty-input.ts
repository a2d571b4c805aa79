import { writeSync } from 'node:fs'

/** Input that waits for a program that does not read; what comes on top is dropped. */
export const MAX_PENDING_INPUT_BYTES = 256 * 1024
const RETRY_MS = { min: 5, max: 200 }

/** Writes input to a non-blocking terminal without ever blocking or growing without bound. */
export class PtyInput implements Disposable {
  private readonly fd: number
  private pending: Buffer[] = []
  private pendingBytes = 0
  private timer: NodeJS.Timeout | undefined
  private delayMs = RETRY_MS.min
  private closed = false

  constructor(fd: number) {
    this.fd = fd
  }

  /** Whether all of it was taken; input beyond MAX_PENDING_INPUT_BYTES is not. */
  write(bytes: Buffer): boolean {
    if (this.closed || this.pendingBytes + bytes.length > MAX_PENDING_INPUT_BYTES) return false
    // A copy: what came in is a part of a larger read buffer that this would keep alive.
    this.pending.push(Buffer.from(bytes))
    this.pendingBytes += bytes.length
    if (this.timer === undefined) this.flush()
    return true
  }

  private flush(): void {
    this.timer = undefined
    while (this.pending.length > 0) {
      const written = this.writeSome(this.pending[0]!)
      if (written === 0) {
        this.timer = setTimeout(() => this.flush(), this.delayMs)
        this.delayMs = Math.min(this.delayMs * 2, RETRY_MS.max)
        return
      }
      this.delayMs = RETRY_MS.min
      this.pendingBytes -= written
      if (written === this.pending[0]!.length) this.pending.shift()
      else this.pending[0] = this.pending[0]!.subarray(written)
    }
  }

  /** Bytes written; 0 when the terminal takes none just now, or for good. */
  private writeSome(bytes: Buffer): number {
    try {
      return writeSync(this.fd, bytes)
    } catch {
      return 0
    }
  }

  [Symbol.dispose](): void {
    this.closed = true
    clearTimeout(this.timer)
    this.pending = []
  }
}
