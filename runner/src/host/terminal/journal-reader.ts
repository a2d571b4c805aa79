import { readSync } from 'node:fs'
import { type RecordHeader, decodeHeader, HEADER_BYTES, RecordType, unpackSize } from './journal-format.ts'
import type { TerminalSize } from '@cliscale/contract'

const WINDOW_BYTES = 64 * 1024
/** Behind a long body only a header is wanted: a scan over 1 GiB of long records reads some 60 MiB. */
const SHORT_WINDOW_BYTES = 4 * 1024

/** Reads records one after another through a window, so that many short records cost few reads. */
export class RecordReader {
  readonly #fd: number
  readonly #end: number
  readonly #window = Buffer.allocUnsafe(WINDOW_BYTES)
  #windowAt = 0
  #windowLength = 0
  #lastLength = 0

  /** @param end file position behind the last record. */
  constructor(fd: number, end: number) {
    this.#fd = fd
    this.#end = end
  }

  /** The header at a file position; undefined when there is no whole record that follows `head` output bytes. */
  header(position: number, head: number): RecordHeader | undefined {
    if (position + HEADER_BYTES > this.#end) return undefined
    if (!this.#inWindow(position, HEADER_BYTES)) this.#load(position)
    if (!this.#inWindow(position, HEADER_BYTES)) return undefined
    const header = decodeHeader(this.#window, position - this.#windowAt, head)
    if (!header || position + HEADER_BYTES + header.length > this.#end) return undefined
    this.#lastLength = header.length
    return header
  }

  /** Copies file bytes into `target`; false when the file is shorter. */
  copy(position: number, target: Buffer): boolean {
    if (this.#inWindow(position, target.length)) {
      this.#window.copy(target, 0, position - this.#windowAt)
      return true
    }
    return readFully(this.#fd, target, position) === target.length
  }

  #inWindow(position: number, length: number): boolean {
    return position >= this.#windowAt && position + length <= this.#windowAt + this.#windowLength
  }

  #load(position: number): void {
    const length = this.#lastLength > SHORT_WINDOW_BYTES ? SHORT_WINDOW_BYTES : WINDOW_BYTES
    this.#windowAt = position
    this.#windowLength = readFully(this.#fd, this.#window.subarray(0, length), position)
  }
}

/** Fills `target` from a file; returns how many bytes there were. */
export function readFully(fd: number, target: Buffer, position: number): number {
  let done = 0
  while (done < target.length) {
    const n = readSync(fd, target, done, target.length - done, position + done)
    if (n === 0) break
    done += n
  }
  return done
}

/** Where a record stands and what was true before it. */
export interface Mark {
  readonly position: number
  readonly head: number
  readonly size: TerminalSize
}

/** What a header says comes after it. */
export function advance(mark: Mark, header: RecordHeader): Mark {
  const position = mark.position + HEADER_BYTES + header.length
  return header.type === RecordType.size
    ? { position, head: mark.head, size: unpackSize(header.detail) }
    : { position, head: mark.head + header.length, size: mark.size }
}
