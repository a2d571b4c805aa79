import type { TerminalSize } from '@cliscale/contract'
import type { OutputChunk } from '../terminal-types.ts'

/** The last output in memory, so that viewers near the head cost no disk read. Owns one buffer of fixed length. */
export class Ring {
  readonly #buffer: Buffer
  /** Where output of a size begins, oldest first; the first one may begin before `start`. */
  #sizes: { from: number; size: TerminalSize }[]
  #start: number
  #head: number

  /** @param head offset of the first byte that will be appended. */
  constructor(capacity: number, head: number, size: TerminalSize) {
    this.#buffer = Buffer.allocUnsafeSlow(capacity)
    this.#start = head
    this.#head = head
    this.#sizes = [{ from: head, size }]
  }

  /** Offset of the oldest byte. */
  get start(): number {
    return this.#start
  }
  get head(): number {
    return this.#head
  }

  setSize(size: TerminalSize): void {
    if (this.#sizes.at(-1)?.from === this.#head) this.#sizes.pop()
    this.#sizes.push({ from: this.#head, size })
  }

  append(bytes: Uint8Array): void {
    const capacity = this.#buffer.length
    const kept = bytes.length > capacity ? bytes.subarray(bytes.length - capacity) : bytes
    const at = (this.#head + bytes.length - kept.length) % capacity
    const first = Math.min(kept.length, capacity - at)
    this.#buffer.set(kept.subarray(0, first), at)
    this.#buffer.set(kept.subarray(first), 0)
    this.#head += bytes.length
    this.#start = Math.max(this.#start, this.#head - capacity)
    const stale = this.#sizes.findIndex((_, i) => (this.#sizes[i + 1]?.from ?? Infinity) > this.#start)
    if (stale > 0) this.#sizes = this.#sizes.slice(stale)
  }

  /** A copy of output from an offset, at most `maxBytes`, all of one size; undefined when it is not here. */
  read(from: number, maxBytes: number): OutputChunk | undefined {
    if (from < this.#start || from >= this.#head) return undefined
    const at = this.#sizes.findLastIndex((entry) => entry.from <= from)
    const entry = this.#sizes[at]
    if (!entry) return undefined
    const end = Math.min(from + maxBytes, this.#head, this.#sizes[at + 1]?.from ?? Infinity)
    const bytes = Buffer.allocUnsafe(end - from)
    const start = from % this.#buffer.length
    const copied = this.#buffer.copy(bytes, 0, start, Math.min(this.#buffer.length, start + bytes.length))
    if (copied < bytes.length) this.#buffer.copy(bytes, copied, 0, bytes.length - copied)
    return { offset: from, bytes, size: entry.size }
  }
}
