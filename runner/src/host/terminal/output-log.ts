import type { Exit, TerminalSize } from '@cliscale/contract'
import type { OutputChunk, TimedChunk } from '../terminal-types.ts'
import { Journal, type JournalOptions } from './journal.ts'
import { Ring } from './ring.ts'

const RING_BYTES = 2 * 1024 * 1024

/** A session's output: the journal on disk and its last part in memory, read by offset. */
export class OutputLog implements Disposable {
  readonly #journal: Journal
  readonly #ring: Ring

  constructor(options: JournalOptions) {
    this.#journal = new Journal(options)
    this.#ring = new Ring(RING_BYTES, this.#journal.head, this.#journal.size)
  }

  get head(): number {
    return this.#journal.head
  }
  get workOffset(): number {
    return this.#journal.workOffset
  }
  get size(): TerminalSize {
    return this.#journal.size
  }
  get epoch(): string | undefined {
    return this.#journal.epoch
  }
  get exit(): Exit | undefined {
    return this.#journal.exit
  }

  setEpoch(epoch: string): void {
    this.#journal.setEpoch(epoch)
  }
  setExit(exit: Exit): void {
    this.#journal.setExit(exit)
  }

  setSize(size: TerminalSize): void {
    this.#journal.setSize(size)
    this.#syncMarker()
    this.#ring.setSize(size)
  }

  /**
   * Appends work's output that starts at its own `offset`; bytes that are there already are dropped.
   * @throws TypeError on a gap.
   */
  appendWork(offset: number, bytes: Uint8Array): void {
    const known = this.workOffset - offset
    if (known < 0) throw new TypeError(`a gap in the output: expected offset ${this.workOffset}, got ${offset}`)
    if (known < bytes.length) this.#append(bytes.subarray(known), offset + known)
  }

  appendHost(bytes: Uint8Array): void {
    this.#append(bytes, undefined)
  }

  /** Output from an offset, at most `maxBytes`, all of one size; undefined at the head and where it is gone. */
  read(from: number, maxBytes: number): OutputChunk | undefined {
    return this.#ring.read(from, maxBytes) ?? this.#journal.read(from, maxBytes)
  }

  /** As `read`, but only what the journal keeps, so that a later reader finds the same, and with its times. */
  readKept(from: number, maxBytes: number): TimedChunk | undefined {
    return this.#journal.readTimed(from, maxBytes)
  }

  /** The first offset from `from` on that can be read; the head when none can. */
  nextReadable(from: number): number {
    return from < this.#journal.keptEnd ? from : Math.max(from, this.#ring.start)
  }

  [Symbol.dispose](): void {
    this.#journal[Symbol.dispose]()
  }

  #append(bytes: Uint8Array, workOffset: number | undefined): void {
    const before = this.#journal.head
    this.#journal.append(bytes, workOffset)
    const grown = this.#journal.head - before
    if (grown === 0) return
    // The marker of a full journal lies in the middle of what was appended: before it what is kept, after it the rest.
    const { marker } = this.#journal
    if (!marker || grown === bytes.length) return this.#ring.append(bytes)
    const kept = this.#journal.keptEnd - marker.length - before
    this.#ring.append(bytes.subarray(0, kept))
    this.#ring.append(marker)
    this.#ring.append(bytes.subarray(kept))
  }

  /** A size that the disk refused makes the journal full as well, and the marker counts as output. */
  #syncMarker(): void {
    const { marker } = this.#journal
    if (marker && this.#ring.head < this.#journal.head) this.#ring.append(marker)
  }
}
