import { AppError, CLOSE, type Exit, type StatusMessage, type TerminalSize } from '@cliscale/contract'
import type { SessionTerminal, SessionTerminalOptions, TimedChunk } from '../terminal-types.ts'
import { Driver } from './driver.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { OutputLog } from './output-log.ts'
import { Screen } from './screen.ts'
import { startTerminalServer, type TerminalServer, tooMany } from './server.ts'
import type { Viewer } from './viewer.ts'
import { Viewers } from './viewers.ts'

/**
 * Opens the session's terminal: reads the journal back, then listens. The caller disposes it.
 *
 * @throws the error of the file system when the spool folder cannot be used, of the socket when it cannot listen.
 */
export async function openSessionTerminal(options: SessionTerminalOptions): Promise<SessionTerminal> {
  const terminal = new Terminal(options)
  try {
    await terminal.listen()
    return terminal
  } catch (error) {
    await terminal[Symbol.asyncDispose]()
    throw error
  }
}

class Terminal implements SessionTerminal {
  readonly #options: SessionTerminalOptions
  readonly #log: OutputLog
  readonly #screen: Screen
  readonly #viewers: Viewers
  readonly #driver: Driver
  #server: TerminalServer | undefined
  #closing = false

  constructor(options: SessionTerminalOptions) {
    this.#options = options
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    const onFault = onceEach(options.onFault)
    const log = new OutputLog({
      dir: options.spoolDir,
      maxBytes: options.spoolMaxBytes,
      onFault,
      now: options.now ?? Date.now,
    })
    this.#log = log
    this.#screen = new Screen({
      log,
      dir: options.spoolDir,
      limits,
      onFault,
      onAnswer: (text) => {
        if (!log.exit) options.onAnswer(Buffer.from(text))
      },
    })
    this.#driver = new Driver({
      debounceMs: limits.resizeDebounceMs,
      graceMs: limits.driverGraceMs,
      apply: (size) => this.#resize(size),
      onChange: () => {
        this.#showColours()
        this.#viewers.poke()
      },
    })
    this.#viewers = new Viewers({
      log,
      screen: this.#screen,
      limits,
      clock: () => performance.now(),
      typing: options.typing,
      onTyped: (viewer, interrupts) => {
        this.#driver.typed(viewer)
        if (interrupts) this.#viewers.catchUp()
      },
      onSize: (viewer, size, claim) => this.#driver.wants(viewer, size, claim),
      onColours: () => this.#showColours(),
      isDriver: ({ viewer }) => viewer === this.#driver.viewer,
      onLeft: (viewer, event) => {
        this.#driver.left(viewer)
        options.onViewerLeft?.(event)
      },
    })
    options.typing.watch((stream) => this.#viewers.onProgress(stream))
  }

  get port(): number {
    return this.#server?.port ?? 0
  }
  get head(): number {
    return this.#log.head
  }
  get workOffset(): number {
    return this.#log.workOffset
  }
  get size(): TerminalSize {
    return this.#log.size
  }
  get ended(): Exit | undefined {
    return this.#log.exit
  }

  async listen(): Promise<void> {
    const limits = { ...DEFAULT_LIMITS, ...this.#options.limits }
    this.#server = await startTerminalServer({
      listen: this.#options.listen,
      limits,
      verify: (assertion) => this.#options.verify(assertion),
      findRefusal: () => {
        if (this.#closing)
          return new AppError('shutting_down', { detail: 'The session host is restarting. Try again.' })
        return this.#viewers.count >= limits.viewers ? tooMany() : undefined
      },
      onViewer: (socket, claims) => {
        const viewer: Viewer = this.#viewers.add(socket, claims)
        return { onHalfClose: () => viewer.close(CLOSE.restart, 'come back') }
      },
    })
  }

  setEpoch(epoch: string): void {
    if (this.#log.epoch === epoch) return
    if (this.#log.epoch !== undefined) throw new TypeError('the journal belongs to another epoch')
    this.#log.setEpoch(epoch)
    this.#viewers.poke()
  }

  appendWork(offset: number, bytes: Uint8Array): void {
    this.#mustBeOpen()
    this.#log.appendWork(offset, bytes)
    this.#poke()
  }

  appendHost(text: string): void {
    this.#mustBeOpen()
    this.#log.appendHost(Buffer.from(text))
    this.#poke()
  }

  startAt(size: TerminalSize): void {
    if (this.#log.head === 0 && this.#driver.viewer === undefined) this.#resize(size)
  }

  ready(): Promise<void> {
    return this.#screen.ready()
  }

  setStatus(status: StatusMessage): void {
    this.#viewers.setStatus(status)
  }

  end(exit: Exit): void {
    if (this.#log.exit) return
    this.#log.setExit(exit)
    this.#viewers.poke()
  }

  async readOutput(from: number, maxBytes: number): Promise<TimedChunk | undefined> {
    return this.#log.readKept(from, maxBytes)
  }

  revoke(viewer: string): void {
    this.#viewers.revoke(viewer)
  }

  drained(limitMs: number): Promise<void> {
    return this.#viewers.idle(limitMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    this.#driver[Symbol.dispose]()
    this.#viewers.closeAll(CLOSE.restart, 'come back')
    await this.#viewers.gone((this.#options.limits?.closeMs ?? DEFAULT_LIMITS.closeMs) + 100)
    await this.#server?.[Symbol.asyncDispose]()
    this.#viewers[Symbol.dispose]()
    await this.#screen[Symbol.asyncDispose]()
    this.#log[Symbol.dispose]()
  }

  #poke(): void {
    this.#screen.poke()
    this.#viewers.poke()
  }

  /** A driver that says nothing of its colours, or has left, changes nothing. */
  #showColours(): void {
    const colours = this.#viewers.findColours(this.#driver.viewer)
    if (colours !== undefined) this.#screen.show(colours)
  }

  #mustBeOpen(): void {
    if (this.#log.exit) throw new TypeError('the session has ended: nothing can be appended')
  }

  #resize(size: TerminalSize): void {
    const { columns, rows } = this.#log.size
    if (this.#log.exit || (columns === size.columns && rows === size.rows)) return
    this.#log.setSize(size)
    this.#poke()
    this.#options.onResize(size)
  }
}

/** Passes a fault on the first time its code comes: a full disk refuses each write. */
function onceEach(report: ((error: Error) => void) | undefined): (error: Error) => void {
  const seen = new Set<string>()
  return (error) => {
    const code = (error as NodeJS.ErrnoException).code ?? error.message
    if (seen.has(code)) return
    seen.add(code)
    report?.(error)
  }
}
