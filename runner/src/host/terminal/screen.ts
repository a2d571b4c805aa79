import { SerializeAddon } from '@xterm/addon-serialize'
import { Unicode11Addon } from '@xterm/addon-unicode11'
// Node's lexer does not find the names of this CommonJS bundle: only the default import has them.
import headless, { type IDisposable, type Terminal } from '@xterm/headless'
import type { TerminalSize } from '@cliscale/contract'
import { guardTerminal } from '@cliscale/contract/terminal-guard'
import { loadCheckpoint, saveCheckpoint, type Snapshot } from './checkpoint.ts'
import type { OutputLog } from './output-log.ts'
import { addAnswers } from './screen-answers.ts'
import { droppedState, pendingInput } from './screen-internals.ts'

const SCROLLBACK_LINES = 5_000
/** Largest piece that is given to the parser at once. */
const CHUNK_BYTES = 128 * 1024
/** How far the screen may lag before `ready` waits. */
const BACKLOG_BYTES = 1024 * 1024
/** A snapshot blocks for some 50 ms: at most one a second, and never more than a twentieth of the time. */
const SNAPSHOT_EVERY_MS = 1_000
const SNAPSHOT_COST_FACTOR = 20

export interface ScreenOptions {
  readonly log: OutputLog
  readonly dir: string
  /** Up to so far behind the head a viewer is sent what it missed byte by byte. */
  readonly replayBytes: number
  readonly checkpointBytes: number
  /** Answers to terminal queries. Queries of output that was there at the start are not answered. */
  readonly onAnswer: (text: string) => void
  readonly onFault: (error: Error) => void
}

/**
 * A terminal without a display that reads the log as a viewer does: it pulls, so its backlog lies in the log and costs
 * no memory. Starts from the last checkpoint. Owns timers and the terminal; dispose it.
 */
export class Screen implements Disposable {
  readonly #options: ScreenOptions
  readonly #terminal: Terminal
  readonly #serializer = new SerializeAddon()
  readonly #disposables: IDisposable[] = []
  /** Queries before this offset were met by an earlier life of the host. */
  readonly #answerFrom: number
  #offset = 0
  /** Up to here nothing hangs in the middle of an escape sequence or a character. */
  #safe = 0
  #writing = false
  #answering = false
  #disposed = false
  #cached: Snapshot | undefined
  #nextSnapshotAt = 0
  #lastCheckpoint = 0
  #timer: NodeJS.Timeout | undefined
  #snapshotWaiters: ((snapshot: Snapshot) => void)[] = []
  #readyWaiters: (() => void)[] = []

  constructor(options: ScreenOptions) {
    this.#options = options
    const start = loadCheckpoint(options.dir, options.log.head)
    const size = start?.size ?? options.log.read(0, 1)?.size ?? options.log.size
    this.#terminal = new headless.Terminal({
      cols: size.columns,
      rows: size.rows,
      scrollback: SCROLLBACK_LINES,
      allowProposedApi: true,
      logLevel: 'off',
    })
    this.#terminal.loadAddon(new Unicode11Addon())
    this.#terminal.unicode.activeVersion = '11'
    this.#terminal.loadAddon(this.#serializer)
    this.#answerFrom = options.log.head
    const answer = (text: string): void => {
      if (this.#answering) options.onAnswer(text)
    }
    this.#disposables.push(this.#terminal.onData(answer), ...addAnswers(this.#terminal, answer))
    guardTerminal(this.#terminal, { onFault: (error) => options.onFault(error as Error) })
    if (start) this.#restore(start)
    else this.poke()
  }

  /** Call when the log has grown or its size has changed. */
  poke(): void {
    if (!this.#writing && !this.#disposed) this.#next()
  }

  /** Resolves when the screen lags by at most 1 MiB. */
  ready(): Promise<void> {
    if (this.#lag <= BACKLOG_BYTES || this.#disposed) return Promise.resolve()
    return new Promise((resolve) => this.#readyWaiters.push(resolve))
  }

  /** A snapshot from which the head is near. All callers that wait get the same one. */
  snapshot(): Promise<Snapshot> {
    const cached = this.#cached
    if (cached && this.#options.log.head - cached.seq <= this.#freshBytes) return Promise.resolve(cached)
    return new Promise((resolve) => {
      this.#snapshotWaiters.push(resolve)
      if (!this.#writing) this.#settle()
    })
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    clearTimeout(this.#timer)
    for (const disposable of this.#disposables) disposable.dispose()
    this.#terminal.dispose()
    for (const resolve of this.#readyWaiters.splice(0)) resolve()
  }

  /** A snapshot so far behind leaves its viewer as much again before it needs the next. */
  get #freshBytes(): number {
    return this.#options.replayBytes / 2
  }

  get #lag(): number {
    return this.#options.log.head - this.#offset
  }

  #restore(start: Snapshot): void {
    this.#writing = true
    this.#terminal.write(start.bytes, () => {
      this.#offset = this.#safe = this.#lastCheckpoint = start.seq
      this.#next()
    })
  }

  #next(): void {
    this.#writing = false
    if (this.#disposed) return
    const { log } = this.#options
    const limit = this.#offset < this.#answerFrom ? Math.min(CHUNK_BYTES, this.#answerFrom - this.#offset) : CHUNK_BYTES
    const chunk = log.read(this.#offset, limit)
    if (!chunk) return this.#atGapOrHead()
    this.#resize(chunk.size)
    this.#writing = true
    this.#answering = chunk.offset >= this.#answerFrom
    this.#terminal.write(chunk.bytes, () => {
      if (this.#disposed) return
      this.#offset += chunk.bytes.length
      this.#trackSafe(chunk.bytes)
      this.#checkpoint()
      this.#settle()
      this.#next()
    })
  }

  #atGapOrHead(): void {
    const { log } = this.#options
    if (this.#offset < log.head) {
      // Output that the full journal did not keep: what hangs in the parser must not swallow what follows.
      this.#offset = this.#safe = log.nextReadable(this.#offset)
      this.#writing = true
      this.#terminal.write('\x18', () => this.#next())
      return
    }
    this.#resize(log.size)
    this.#settle()
  }

  #resize(size: TerminalSize): void {
    if (size.columns === this.#terminal.cols && size.rows === this.#terminal.rows) return
    // A cached snapshot stays good: a viewer that starts from it gets this resize in its place.
    this.#terminal.resize(size.columns, size.rows)
  }

  /** What the parser holds has no effect yet, so the screen is that of the offset where it began. */
  #trackSafe(chunk: Uint8Array): void {
    const { inSequence, utf8Bytes } = pendingInput(this.#terminal)
    if (!inSequence) this.#safe = this.#offset - utf8Bytes
    else {
      const start = Math.max(chunk.lastIndexOf(0x1b), lastC1(chunk))
      if (start >= 0) this.#safe = this.#offset - chunk.length + start
    }
  }

  #checkpoint(): void {
    if (this.#offset - this.#lastCheckpoint < this.#options.checkpointBytes) return
    this.#lastCheckpoint = this.#offset
    try {
      saveCheckpoint(this.#options.dir, this.#take())
    } catch (error) {
      this.#options.onFault(error as Error)
    }
  }

  #settle(): void {
    if (this.#lag <= BACKLOG_BYTES) for (const resolve of this.#readyWaiters.splice(0)) resolve()
    if (this.#snapshotWaiters.length === 0 || this.#lag > this.#freshBytes || this.#timer) return
    const wait = this.#nextSnapshotAt - performance.now()
    if (wait > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        if (!this.#writing) this.#settle()
      }, wait)
      return
    }
    const snapshot = this.#take()
    for (const resolve of this.#snapshotWaiters.splice(0)) resolve(snapshot)
  }

  #take(): Snapshot {
    if (this.#cached?.seq === this.#safe) return this.#cached
    const start = performance.now()
    const bytes = Buffer.from(this.#serializer.serialize() + droppedState(this.#terminal))
    const now = performance.now()
    this.#nextSnapshotAt = now + Math.max(SNAPSHOT_EVERY_MS, (now - start) * SNAPSHOT_COST_FACTOR)
    const size = { columns: this.#terminal.cols, rows: this.#terminal.rows }
    this.#cached = { seq: this.#safe, size, bytes }
    return this.#cached
  }
}

/** Where the last C1 control in UTF-8 (C2 80 to C2 9F) begins; -1 when there is none. */
function lastC1(bytes: Uint8Array): number {
  for (let at = bytes.lastIndexOf(0xc2); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf(0xc2, at - 1)) {
    const next = bytes[at + 1] ?? 0
    if (next >= 0x80 && next < 0xa0) return at
  }
  return -1
}
