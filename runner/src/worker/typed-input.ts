import { setTimeout as sleep } from 'node:timers/promises'
import { mayInterrupt } from '@cliscale/contract'
import type { TypedPiece } from '../relay/frames.ts'
import type { TypedProgress } from '../relay/messages.ts'
import { LineLength } from './line-length.ts'
import { DEFAULT_SIGNALS, type TtyModes } from './tty-modes.ts'

/** Answers of the terminal that wait for a program that does not read; more are dropped. */
const MAX_ANSWER_BYTES = 64 * 1024
/** As many streams are remembered; those that came to their end longest ago are forgotten first. */
const MAX_STREAMS = 256
/** So much that a program has not read never fills a kernel's terminal, which holds up a Ctrl-C behind it when full. */
const HARMLESS_BYTES = 1024
const RETRY_MS = { min: 2, max: 50 }
/** Before the modes of a terminal that was raw are asked for again. */
const RAW_PAUSE_MS = 100

/** A running program's terminal, as its input sees it. */
export interface InputSink {
  /** Writes without blocking; bytes written, 0 when it takes none just now. */
  writeInput(bytes: Buffer): number
  modes(): Promise<TtyModes>
  /** Throws away what the program has not read. */
  discardInput(): void
}

interface Stream {
  readonly id: string
  received: number
  taken: number
  dropped: number
  isLineCut: boolean
}

/** `stream` is undefined for an answer. */
interface Entry {
  readonly stream: Stream | undefined
  bytes: Buffer
}

/**
 * What viewers type, from when it comes until the command's terminal takes it. It is held until the command runs: an
 * install command gets only the keys that interrupt, and the terminal's own answers. Nothing is dropped but by such a
 * key: as a terminal flushes its input when it makes a signal, all that waits in front of Ctrl-C goes with it. In raw
 * mode Ctrl-C is a byte like others and keeps its place.
 *
 * How much may wait is the senders' matter: each keeps to INPUT_WINDOW_BYTES beyond `taken`.
 */
export class TypedInput implements Disposable {
  private readonly onProgress: (progress: TypedProgress) => void
  private readonly streams = new Map<string, Stream>()
  private readonly told = new Set<Stream>()
  private queue: Entry[] = []
  private answerBytes = 0
  private sink: InputSink | undefined
  private sinkTakesTyped = false
  private over = false
  private timer: NodeJS.Timeout | undefined
  private delayMs = RETRY_MS.min
  /** A key that may interrupt is in the queue, or is `ahead` of it: the terminal's modes decide. */
  private deciding = false
  private ahead: { readonly stream: Stream; readonly at: number; readonly bytes: Buffer } | undefined
  private unreadBytes = 0
  private line = new LineLength()
  private isAskingOfCut = false

  constructor(onProgress: (progress: TypedProgress) => void) {
    this.onProgress = onProgress
  }

  /** How far every stream came. */
  get progress(): TypedProgress[] {
    return [...this.streams.values()].map(({ id, received, taken }) => {
      return { stream: id, received, taken, dropped: 0, isLineCut: false }
    })
  }

  /** A program runs now; only the command takes what is typed. */
  connect(sink: InputSink, phase: 'install' | 'command'): void {
    this.sink = sink
    this.sinkTakesTyped = phase === 'command'
    this.unreadBytes = 0
    this.line = new LineLength()
    this.pump()
  }

  /** The program has ended: its terminal takes nothing any more. */
  disconnect(): void {
    this.sink = undefined
    this.ahead = undefined
    this.queue = this.queue.filter((entry) => entry.stream !== undefined)
    this.answerBytes = 0
    clearTimeout(this.timer)
    this.timer = undefined
  }

  /** No program will run any more: what waits and what still comes counts as taken. */
  [Symbol.dispose](): void {
    this.disconnect()
    this.over = true
    for (const entry of this.queue.splice(0)) this.count(entry, entry.bytes.length)
  }

  /** The terminal's answer to the program that runs. */
  answer(bytes: Buffer): void {
    if (this.sink === undefined || this.answerBytes + bytes.length > MAX_ANSWER_BYTES) return
    this.answerBytes += bytes.length
    this.queue.push({ stream: undefined, bytes: Buffer.from(bytes) })
    this.pump()
  }

  /** Takes what is new of it. */
  push({ stream: id, at, ahead, bytes }: TypedPiece): void {
    const stream = this.streamOf(id, at)
    this.tell(stream)
    if (ahead ? at < stream.received : at > stream.received) return
    const fresh = Buffer.from(ahead ? bytes : bytes.subarray(stream.received - at))
    if (fresh.length === 0) return
    if (ahead) this.ahead = { stream, at, bytes: fresh }
    else {
      stream.received += fresh.length
      this.queue.push({ stream, bytes: fresh })
    }
    if (this.over) this[Symbol.dispose]()
    else if (ahead || fresh.some(mayInterrupt)) this.decide()
    this.pump()
  }

  /** The one of that name, as the latest. */
  private streamOf(id: string, at: number): Stream {
    const stream = this.streams.get(id) ?? { id, received: at, taken: at, dropped: 0, isLineCut: false }
    this.streams.delete(id)
    for (const old of this.streams.values()) {
      if (this.streams.size < MAX_STREAMS) break
      if (old.taken === old.received) this.streams.delete(old.id)
    }
    this.streams.set(id, stream)
    return stream
  }

  /** A key came that may interrupt. */
  private decide(): void {
    const { sink } = this
    if (sink !== undefined && this.sinkTakesTyped) {
      const waiting = this.queue.reduce((sum, { bytes }) => sum + bytes.length, this.unreadBytes)
      if (!this.deciding && (this.ahead !== undefined || waiting > HARMLESS_BYTES)) void this.askAndDecide(sink)
      return
    }
    // Before the command the key takes back what was typed, and interrupts what runs, but it is not for the command.
    const key = this.takeInterrupt(DEFAULT_SIGNALS)
    if (key === undefined) return
    sink?.writeInput(key.bytes)
    this.count(key, key.bytes.length)
  }

  /** Asks the terminal, while nothing is written to it, so that nothing typed later is discarded. */
  private async askAndDecide(sink: InputSink): Promise<void> {
    this.deciding = true
    const { signals } = await sink.modes()
    this.deciding = false
    if (this.sink !== sink) return
    const key = this.takeInterrupt(signals)
    if (key !== undefined) {
      sink.discardInput()
      this.unreadBytes = 0
      this.queue.unshift(key)
    }
    this.ahead = undefined
    this.pump()
  }

  /** The last key that interrupts, after all in front of it was dropped. */
  private takeInterrupt(signals: ReadonlySet<number>): Entry | undefined {
    const { ahead } = this
    if (ahead !== undefined && signals.has(ahead.bytes[0]!)) {
      const { stream, at, bytes } = ahead
      this.ahead = undefined
      this.dropQueue(this.queue.length)
      stream.received = at + bytes.length
      stream.taken = at
      return { stream, bytes }
    }
    const isKey = (byte: number): boolean => signals.has(byte)
    const index = this.queue.findLastIndex(({ stream, bytes }) => stream !== undefined && bytes.some(isKey))
    if (index === -1) return undefined
    this.dropQueue(index)
    const { stream, bytes } = this.queue.shift()!
    const place = bytes.findLastIndex(isKey)
    this.drop({ stream, bytes: bytes.subarray(0, place) })
    if (place + 1 < bytes.length) this.queue.unshift({ stream, bytes: bytes.subarray(place + 1) })
    return { stream, bytes: bytes.subarray(place, place + 1) }
  }

  private dropQueue(entries: number): void {
    for (const entry of this.queue.splice(0, entries)) this.drop(entry)
  }

  private drop(entry: Entry): void {
    if (entry.stream !== undefined) entry.stream.dropped += entry.bytes.length
    this.count(entry, entry.bytes.length)
  }

  private count({ stream }: Entry, bytes: number): void {
    if (stream === undefined) {
      this.answerBytes -= bytes
      return
    }
    stream.taken += bytes
    this.tell(stream)
  }

  private pump(): void {
    if (this.sink === undefined || this.deciding || this.timer !== undefined) return
    for (;;) {
      const index = this.sinkTakesTyped ? 0 : this.queue.findIndex(({ stream }) => stream === undefined)
      const entry = this.queue[index]
      if (entry === undefined) return
      const written = this.sink.writeInput(entry.bytes)
      if (written === 0) return this.retryLater()
      this.delayMs = RETRY_MS.min
      this.unreadBytes += written
      if (this.line.add(entry.bytes.subarray(0, written))) void this.tellOfCut(this.sink, entry.stream)
      entry.bytes = entry.bytes.subarray(written)
      if (entry.bytes.length === 0) this.queue.splice(index, 1)
      this.count(entry, written)
    }
  }

  /** A line was longer than a terminal holds; in raw mode there are no lines, and the next one begins anew. */
  private async tellOfCut(sink: InputSink, stream: Stream | undefined): Promise<void> {
    if (this.isAskingOfCut) return
    this.isAskingOfCut = true
    const { isByLine } = await sink.modes()
    // A raw program may be given megabytes without a line's end: it is not asked for at each 4 KiB.
    if (!isByLine) await sleep(RAW_PAUSE_MS, undefined, { ref: false })
    this.isAskingOfCut = false
    if (!isByLine) this.line = new LineLength()
    else if (stream !== undefined) {
      stream.isLineCut = true
      this.tell(stream)
    }
  }

  private retryLater(): void {
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.pump()
    }, this.delayMs)
    this.delayMs = Math.min(this.delayMs * 2, RETRY_MS.max)
  }

  /** Once for all that happens in this turn of the event loop. */
  private tell(stream: Stream): void {
    if (this.told.has(stream)) return
    this.told.add(stream)
    setImmediate(() => {
      this.told.delete(stream)
      const { id, received, taken, dropped, isLineCut } = stream
      stream.dropped = 0
      stream.isLineCut = false
      this.onProgress({ stream: id, received, taken, dropped, isLineCut })
    })
  }
}
