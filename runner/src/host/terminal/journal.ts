import {
  closeSync,
  constants,
  ftruncateSync,
  fstatSync,
  mkdirSync,
  openSync,
  rmSync,
  writeSync,
  writevSync,
} from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { DEFAULT_SIZE, type Exit, MAX_OUTPUT_TIMES, type TerminalSize } from '@cliscale/contract'
import type { OutputChunk, TimedChunk } from '../terminal-types.ts'
import {
  decodeState,
  encodeHeader,
  encodeState,
  HEADER_BYTES,
  type JournalState,
  MAX_BODY_BYTES,
  packSize,
  PREAMBLE_BYTES,
  type RecordHeader,
  RecordType,
} from './journal-format.ts'
import { JournalIndex } from './journal-index.ts'
import { advance, type Mark, readFully, RecordReader } from './journal-reader.ts'

const FILE_NAME = 'journal'
/** A snapshot of the screen lies beside the journal and belongs to it. */
export const CHECKPOINT_NAME = 'screen'
/** Records that came within this time of one another count as one in what `readTimed` tells. */
const TIME_STEP_MS = 10

export interface JournalOptions {
  readonly dir: string
  /** Largest size of the records, headers included, in bytes. */
  readonly maxBytes: number
  /** Told of each fault of the disk; the session goes on. */
  readonly onFault: (error: Error) => void
  readonly now: () => number
  /** Stands in for the disk where a test wants it to fail. */
  readonly writev?: typeof writevSync
}

/**
 * The truth about a session's output: an append-only file. An append is in the page cache when the call returns, so
 * it survives a kill of this process (not a loss of power). A record that a kill cut off is dropped at open.
 *
 * States: `open` (all output is kept) → `full` (the limit or any fault of the disk: a marker counts as output, later
 * output is only counted) ; in both `ended` may come once.
 */
export class Journal implements Disposable {
  readonly #options: JournalOptions
  readonly #fd: number
  readonly #index = new JournalIndex()
  #state: JournalState
  #end: Mark
  #workOffset = 0
  #lastMs = 0
  #closed = false

  /** @throws the error of the file system when the folder cannot hold even an empty journal. */
  constructor(options: JournalOptions) {
    this.#options = options
    mkdirSync(options.dir, { recursive: true, mode: 0o700 })
    this.#fd = openSync(path.join(options.dir, FILE_NAME), constants.O_RDWR | constants.O_CREAT, 0o600)
    try {
      this.#state = this.#openState()
      this.#end = this.#scan()
    } catch (error) {
      closeSync(this.#fd)
      throw error
    }
  }

  /** Output bytes so far, kept or not. */
  get head(): number {
    return this.#state.overflow?.head ?? this.#end.head
  }
  get workOffset(): number {
    return this.#state.overflow?.workOffset ?? this.#workOffset
  }
  get size(): TerminalSize {
    return this.#state.overflow ? this.#state.size : this.#end.size
  }
  get epoch(): string | undefined {
    return this.#state.epoch ?? undefined
  }
  get exit(): Exit | undefined {
    return this.#state.exit ?? undefined
  }
  /** Output before this offset can be read, the marker of a full journal included. */
  get keptEnd(): number {
    const { overflow } = this.#state
    return overflow ? overflow.at + Buffer.byteLength(overflow.marker) : this.#end.head
  }
  /** The marker's bytes where the journal is full. */
  get marker(): Buffer | undefined {
    return this.#state.overflow ? Buffer.from(this.#state.overflow.marker) : undefined
  }

  setEpoch(epoch: string): void {
    this.#writeState({ epoch })
  }

  setExit(exit: Exit): void {
    this.#writeState({ exit, endedAt: new Date(this.#options.now()).toISOString() })
  }

  setSize(size: TerminalSize): void {
    if (!this.#state.overflow && !this.#closed) {
      const written = this.#write({ type: RecordType.size, detail: packSize(size) }, Buffer.alloc(0))
      if (written) return
    }
    this.#writeState({ size })
  }

  /**
   * Appends output. `workOffset` is where work's own output starts with it; undefined for bytes of the host.
   * Never throws for the disk: what cannot be kept is counted.
   */
  append(bytes: Uint8Array, workOffset: number | undefined): void {
    let done = 0
    while (done < bytes.length && !this.#state.overflow && !this.#closed) {
      const room = this.#options.maxBytes - (this.#end.position - PREAMBLE_BYTES) - HEADER_BYTES
      const part = bytes.subarray(done, done + Math.min(MAX_BODY_BYTES, Math.max(room, 0)))
      if (part.length === 0) this.#overflow('it has reached the limit for one session')
      else if (
        this.#write({ type: RecordType.output, detail: workOffset === undefined ? -1 : workOffset + done }, part)
      )
        done += part.length
    }
    const { overflow } = this.#state
    if (!overflow || done === bytes.length) return
    const rest = bytes.length - done
    const work = workOffset === undefined ? overflow.workOffset : workOffset + bytes.length
    this.#writeState({ overflow: { ...overflow, head: overflow.head + rest, workOffset: work } })
  }

  /** Output from an offset, at most `maxBytes`, all of one size; undefined where nothing is kept. */
  read(from: number, maxBytes: number): OutputChunk | undefined {
    return this.#read(from, maxBytes, undefined)
  }

  /** As `read`, with when it was appended, to TIME_STEP_MS; at most MAX_OUTPUT_TIMES times. */
  readTimed(from: number, maxBytes: number): TimedChunk | undefined {
    const times: [number, number][] = []
    const chunk = this.#read(from, maxBytes, times)
    return chunk && { ...chunk, times }
  }

  #read(from: number, maxBytes: number, times: [number, number][] | undefined): OutputChunk | undefined {
    if (this.#closed || from < 0 || maxBytes < 1 || from >= this.keptEnd) return undefined
    const { overflow } = this.#state
    if (overflow && from >= overflow.at) {
      const start = from - overflow.at
      times?.push([0, this.#lastMs])
      return {
        offset: from,
        bytes: Buffer.from(overflow.marker).subarray(start, start + maxBytes),
        size: overflow.size,
      }
    }
    return this.#readRecords(from, maxBytes, times)
  }

  #readRecords(from: number, maxBytes: number, times: [number, number][] | undefined): OutputChunk | undefined {
    const out = Buffer.allocUnsafe(Math.min(maxBytes, this.#end.head - from))
    const reader = new RecordReader(this.#fd, this.#end.position)
    let mark = this.#index.find(from)
    let size: TerminalSize | undefined
    let done = 0
    while (mark && done < out.length) {
      const header = reader.header(mark.position, mark.head)
      if (!header) break
      const next: Mark = advance(mark, header)
      if (header.type === RecordType.output && next.head > from + done) {
        if (size && packSize(size) !== packSize(mark.size)) break
        size = mark.size
        const skip = from + done - mark.head
        const take = Math.min(header.length - skip, out.length - done)
        if (times && !noteTime(times, done, header.timeMs)) break
        if (!reader.copy(mark.position + HEADER_BYTES + skip, out.subarray(done, done + take))) break
        done += take
      }
      mark = next
    }
    return done > 0 && size ? { offset: from, bytes: out.subarray(0, done), size } : undefined
  }

  /** After this nothing changes any more: the descriptor's number may already belong to another file. */
  [Symbol.dispose](): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
  }

  #openState(): JournalState {
    const preamble = Buffer.alloc(PREAMBLE_BYTES)
    const there = readFully(this.#fd, preamble, 0)
    const state = decodeState(preamble)
    if (there === PREAMBLE_BYTES && state) return state
    const fresh: JournalState = {
      generation: 0,
      epoch: null,
      exit: null,
      endedAt: null,
      size: DEFAULT_SIZE,
      overflow: null,
    }
    // A kill while the file was made: nothing was appended yet, for the preamble is whole before the first record.
    ftruncateSync(this.#fd, 0)
    rmSync(path.join(this.#options.dir, CHECKPOINT_NAME), { force: true })
    const slot = encodeState(fresh).bytes
    slot.copy(preamble)
    preamble.fill(0, slot.length)
    for (let done = 0; done < preamble.length;) {
      done += writeSync(this.#fd, preamble, done, preamble.length - done, done)
    }
    return fresh
  }

  /** Walks the headers, fills the index, and cuts off what a kill left half written. */
  #scan(): Mark {
    const fileEnd = fstatSync(this.#fd).size
    const reader = new RecordReader(this.#fd, fileEnd)
    let mark: Mark = { position: PREAMBLE_BYTES, head: 0, size: DEFAULT_SIZE }
    let last: { mark: Mark; header: RecordHeader; workOffset: number; lastMs: number } | undefined
    for (;;) {
      const header = reader.header(mark.position, mark.head)
      if (!header) break
      this.#index.note(mark)
      last = { mark, header, workOffset: this.#workOffset, lastMs: this.#lastMs }
      this.#lastMs = Math.max(this.#lastMs, header.timeMs)
      if (header.type === RecordType.output && header.detail >= 0) this.#workOffset = header.detail + header.length
      mark = advance(mark, header)
    }
    if (last && !this.#isWhole(reader, last.mark, last.header)) {
      mark = last.mark
      this.#workOffset = last.workOffset
      this.#lastMs = last.lastMs
    }
    if (mark.position < fileEnd) ftruncateSync(this.#fd, mark.position)
    return mark
  }

  #isWhole(reader: RecordReader, mark: Mark, header: RecordHeader): boolean {
    const body = Buffer.allocUnsafe(header.length)
    return reader.copy(mark.position + HEADER_BYTES, body) && crc32(body) === header.checksum
  }

  /** Appends one record; when the disk refuses, the journal is full from here on. */
  #write(what: { type: number; detail: number }, body: Uint8Array): boolean {
    const { position, head } = this.#end
    // A clock that was set back stands still here until it has caught up.
    const timeMs = Math.max(this.#options.now(), this.#lastMs)
    const header: RecordHeader = { ...what, timeMs, length: body.length, checksum: crc32(body), head }
    try {
      this.#writeFully([encodeHeader(header), body], position)
    } catch (error) {
      this.#cutTo(position)
      this.#options.onFault(error as Error)
      this.#overflow('the disk is full')
      return false
    }
    this.#index.note(this.#end)
    this.#end = advance(this.#end, header)
    this.#lastMs = timeMs
    if (what.type === RecordType.output && what.detail >= 0) this.#workOffset = what.detail + body.length
    return true
  }

  #writeFully(parts: Uint8Array[], position: number): void {
    const writev = this.#options.writev ?? writevSync
    const total = parts.reduce((sum, part) => sum + part.length, 0)
    let done = writev(this.#fd, parts, position)
    if (done === total) return
    // A short write: the next one says why, or goes on.
    const all = Buffer.concat(parts)
    while (done < total) done += writev(this.#fd, [all.subarray(done)], position + done)
  }

  #cutTo(position: number): void {
    try {
      ftruncateSync(this.#fd, position)
    } catch (error) {
      this.#options.onFault(error as Error)
    }
  }

  #overflow(why: string): void {
    const marker = `\r\n\x1b[0m[cliscale] Output from here on is not kept: ${why}. It is still shown live.\r\n`
    const at = this.#end.head
    const size = this.#end.size
    const overflow = { marker, at, size, head: at + Buffer.byteLength(marker), workOffset: this.#workOffset }
    this.#writeState({ size, overflow })
  }

  #writeState(change: Partial<JournalState>): void {
    if (this.#closed) return
    this.#state = { ...this.#state, ...change, generation: this.#state.generation + 1 }
    const { position, bytes } = encodeState(this.#state)
    try {
      writeSync(this.#fd, bytes, 0, bytes.length, position)
    } catch (error) {
      this.#options.onFault(error as Error)
    }
  }
}

/** Takes note of when the byte at `at` came; false when there is no room for one more time. Times never fall. */
function noteTime(times: [number, number][], at: number, timeMs: number): boolean {
  const last = times.at(-1)
  if (last !== undefined && timeMs - last[1] < TIME_STEP_MS) return true
  if (times.length === MAX_OUTPUT_TIMES) return false
  times.push([at, timeMs])
  return true
}
