import type { SessionStatus } from '@cliscale/contract/session'
import { isFinal } from '@cliscale/contract/session'
import { CLOSE } from '@cliscale/contract/errors'
import {
  ClientType,
  decodeServerMessage,
  encodeClientHello,
  encodeJson,
  type Exit,
  type Hello,
  type InputProgress,
  type Mode,
  type Resize,
  type ServerMessage,
  type StatusMessage,
  type TerminalColours,
  type TerminalSize,
  TTY_PROTOCOL,
} from '@cliscale/contract/terminal'
import type { ConnectionState, DropCause, Stop } from './connection-state.ts'
import { inputMessages } from './input-messages.ts'
import type { InputStream } from './input-stream.ts'
import { PlainLink } from './plain-link.ts'
import { type Mark, Position } from './position.ts'
import type { Viewer, ViewerAnswer, ViewerApi } from './viewer-api.ts'

/**
 * How long the server may be silent, in milliseconds. One that names its heartbeat is gone when two are missing. Each
 * loss by silence doubles the limit until a heartbeat comes: a large snapshot over a slow line is silence too.
 */
export const SILENCE = { unnamed: 40_000, spare: 2_000, most: 80_000 } as const
/** A timer that is later than this was held up, in milliseconds. */
const LATE_MS = 500
/** The heartbeat of the gateway, which brings this page and speaks first, in milliseconds. */
const GATEWAY_HEARTBEAT_MS = 5_000
/** A socket that does not open in this time is given up, in milliseconds. */
export const OPEN_LIMIT_MS = 12_000
/** What was worked off is acknowledged at the latest after this pause, in milliseconds. */
export const IDLE_ACK_MS = 250
/** A connection that held this long starts the next back-off from the beginning, in milliseconds. */
const STABLE_MS = 5_000
/** While `tty` is spoken, what a session waits for is asked this often, in milliseconds. */
export const ASK_MS = 2_000

/** The part of WebSocket that is used; messages are ArrayBuffers. */
export interface Socket {
  /** The subprotocol that the server chose; known once it is open. */
  readonly protocol?: string
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number }) => void) | null
  send(message: Uint8Array<ArrayBuffer>): void
  close(): void
}

/** Where output goes. `parsed` is called when the bytes were worked off; bytes come in the order they must be drawn. */
export interface Screen {
  reset(): void
  write(bytes: Uint8Array, parsed: () => void): void
  snapshot(bytes: Uint8Array, parsed: () => void): void
  resize(size: TerminalSize): void
  title(text: string): void
}

export interface Clock {
  now(): number
  setTimeout(callback: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

export const systemClock: Clock = {
  now: Date.now,
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer as number),
}

export interface ConnectionDeps {
  readonly token: string | undefined
  readonly api: ViewerApi
  readonly openSocket: (viewer: string) => Socket
  /** The viewer id that outlives a reload of this tab. */
  readonly memory: { viewer: string | undefined }
  readonly screen: Screen
  /** What is typed on this page. */
  readonly input: InputStream
  readonly clock: Clock
  /** How long to wait before attempt number `attempt` (0 is the first after a drop), in milliseconds. */
  readonly retryDelayMs: (attempt: number) => number
  /** The size that the window has room for now. */
  readonly windowSize: () => TerminalSize | undefined
  /** What the terminal is drawn in now. */
  readonly colours: () => TerminalColours
  readonly onState: (state: ConnectionState) => void
  readonly onMode: (mode: Mode) => void
  /** Whether this window decides the session's size; undefined: the server does not say. */
  readonly onDriver: (drives: boolean | undefined) => void
  /** Every STATUS, in order, with what the server's clock is ahead of ours by. */
  readonly onStatus: (status: StatusMessage, clockOffsetMs: number) => void
  /** The session's image brings its own terminal, which speaks `tty` (see PlainLink). Called before it is attached. */
  readonly onPlain: () => void
}

type TimerName = 'attempt' | 'silence' | 'ack' | 'open' | 'ask'

/**
 * One viewer's way to one session: gets in, attaches, goes on after every drop at the offset it has, and stops when
 * the session ended or only a person can help. States and transitions: `ConnectionState`. Owns one socket and its
 * timers; `close` ends both.
 */
export class Connection {
  readonly #deps: ConnectionDeps
  readonly #position = new Position()
  readonly #timers = new Map<TimerName, unknown>()
  #token: string | undefined
  #state: ConnectionState = { kind: 'connecting' }
  #socket: Socket | undefined
  /** Set while the socket speaks `tty`. */
  #plain: PlainLink | undefined
  /** Whether this page was attached to a program by `tty`: a further connection starts another one. */
  #ranPlain = false
  #viewer: Viewer | undefined
  #status: StatusMessage | undefined
  #mode: Mode = 'rw'
  /** Whether the session tells how far input came; one of an earlier version does not. */
  #tellsProgress = false
  #attempt = 0
  #attachedAt: number | undefined
  #drives: boolean | undefined
  /** The size that the first message named; it may have waited for long. */
  #toldSize: TerminalSize | undefined
  #toldColours: TerminalColours | undefined
  #heardAt = 0
  #heartbeatMs: number | undefined = GATEWAY_HEARTBEAT_MS
  /** Losses by silence since the last heartbeat. */
  #silences = 0
  #closed = false

  constructor(deps: ConnectionDeps) {
    this.#deps = deps
    this.#token = deps.token
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** How far this viewer is in the session's output, in bytes. */
  get offset(): number {
    return this.#position.offset
  }

  /** Whether what is typed now reaches the session. */
  get writable(): boolean {
    return this.#attachedAt !== undefined && this.#mode === 'rw' && this.#state.kind !== 'ended'
  }

  /** Gets in and attaches. */
  start(): void {
    void this.#enter()
  }

  /** Ends the socket and all timers; nothing is reported afterwards. */
  close(): void {
    this.#closed = true
    this.#dropSocket()
    this.#stopTimer('attempt')
  }

  /** Connects now instead of later: the button, `online`, or the page coming to the foreground. */
  wake(): void {
    if (this.#state.kind === 'reconnecting') {
      this.#stopTimer('attempt')
      this.#again()
    } else if (
      this.#socket !== undefined &&
      this.#plain === undefined &&
      this.#deps.clock.now() - this.#heardAt > this.#silenceLimitMs
    ) {
      this.#onSilence()
    }
  }

  /** Goes on after a stop that a person may lift (`canResume`). */
  resume(): void {
    if (this.#state.kind !== 'stopped') return
    this.#attempt = 0
    this.#again()
  }

  /**
   * Takes what was typed: it is sent, or waits here for the connection and for the program. Not taken when nobody may
   * type, or nothing will read it; or when too much waits.
   */
  type(bytes: Uint8Array): 'taken' | 'too_much' | 'unreachable' {
    const { kind } = this.#state
    if (this.#mode === 'ro' || kind === 'ended' || kind === 'stopped') return 'unreachable'
    const isPlain = this.#plain !== undefined || this.#ranPlain
    if (isPlain || (this.writable && !this.#tellsProgress)) return this.#sendInput(bytes) ? 'taken' : 'unreachable'
    return this.#deps.input.type(bytes) ? 'taken' : 'too_much'
  }

  #sendInput(bytes: Uint8Array): boolean {
    const socket = this.#socket
    if (!this.writable || socket === undefined) return false
    for (const message of inputMessages(bytes)) socket.send(message)
    return true
  }

  /** Tells the session the size of a read-write viewer's window. */
  resize(size: TerminalSize): void {
    if (!this.writable) return
    if (this.#plain === undefined) return this.#sendResize(size)
    this.#plain.resize(size)
    this.#deps.screen.resize(size)
  }

  /** Makes this window the one that decides the session's size. */
  takeSize(): void {
    const size = this.#deps.windowSize()
    if (!this.writable || this.#plain !== undefined || size === undefined) return
    this.#sendResize({ ...size, take: true })
  }

  /** The terminal is drawn in other colours now: a program may want to know. */
  recolour(): void {
    if (this.writable && this.#plain === undefined) this.#sendResize({ colours: this.#deps.colours() })
  }

  #sendResize(resize: Resize): void {
    this.#socket?.send(encodeJson(ClientType.resize, resize))
  }

  // --- getting in

  async #enter(): Promise<void> {
    this.#set({ kind: 'connecting', again: this.#attempt > 0 })
    const answer = await this.#askToEnter()
    if (this.#closed) return
    if (answer.kind === 'unreachable') return this.#retryLater('network')
    if (answer.kind === 'refused') return this.#stop(answer.why)
    this.#token = undefined
    this.#admit(answer.viewer)
    this.#open(answer.viewer)
  }

  /** A refused link still opens when this browser holds the session's cookie: it may be the one that used it. */
  async #askToEnter(): Promise<ViewerAnswer> {
    const { api, memory } = this.#deps
    if (this.#token === undefined) {
      const known = await api.find(memory.viewer)
      return known.kind === 'refused' && memory.viewer !== undefined ? await api.find(undefined) : known
    }
    const redeemed = await api.redeem(this.#token)
    if (redeemed.kind !== 'refused') return redeemed
    const known = await api.find(memory.viewer)
    const isNews = known.kind === 'viewer' || (known.kind === 'refused' && known.why === 'not_found')
    return isNews ? known : redeemed
  }

  #admit(viewer: Viewer): void {
    this.#viewer = viewer
    this.#deps.memory.viewer = viewer.viewer
    this.#setMode(viewer.mode)
  }

  // --- the socket

  #again(): void {
    if (this.#viewer === undefined) void this.#enter()
    else this.#open(this.#viewer)
  }

  #open(viewer: Viewer): void {
    this.#dropSocket()
    this.#set({ kind: 'connecting', again: this.#attempt > 0 })
    let opened = false
    const socket = this.#deps.openSocket(viewer.viewer)
    this.#socket = socket
    this.#startTimer('open', OPEN_LIMIT_MS, () => this.#lost('network'))
    socket.onopen = () => {
      opened = true
      this.#stopTimer('open')
      this.#heard()
      if (socket.protocol === TTY_PROTOCOL) return this.#openPlain(socket)
      const drives = this.#drives === true ? { drives: true } : {}
      this.#toldSize = this.#deps.windowSize()
      this.#toldColours = this.#deps.colours()
      const { name: input } = this.#deps.input
      const told = { ...this.#toldSize, colours: this.#toldColours }
      socket.send(encodeClientHello({ ...told, ...this.#position.resume, ...drives, input }))
    }
    socket.onmessage = ({ data }) => {
      this.#heard()
      if (data instanceof ArrayBuffer) this.#receive(new Uint8Array(data))
    }
    socket.onclose = ({ code }) => {
      const plain = this.#plain
      const wasStable = this.#dropSocket()
      if (wasStable) this.#attempt = 0
      if (plain !== undefined && this.#state.kind !== 'ended' && code !== CLOSE.token)
        return void this.#onPlainClose(plain.isAttached)
      if (opened) this.#onClose(code)
      // The browser does not tell a script why an upgrade was refused; the same question over HTTP does.
      else void this.#check('no_access')
    }
  }

  // --- an image with a terminal of its own

  #openPlain(socket: Socket): void {
    const { screen } = this.#deps
    this.#plain = new PlainLink({
      send: (message) => socket.send(message),
      write: (bytes, parsed) => screen.write(bytes, parsed),
      title: (text) => screen.title(text),
      onAttached: () => this.#onPlainAttached(),
    })
    this.#deps.onPlain()
    this.#plain.greet(this.#deps.windowSize())
    if (this.#viewer?.status !== undefined) this.#onStatus(this.#viewer.status)
    this.#askLater()
  }

  #onPlainAttached(): void {
    this.#stopTimer('ask')
    // ttyd says nothing while its program does not: only the browser notices then that it has gone.
    this.#stopTimer('silence')
    const size = this.#deps.windowSize()
    if (this.#ranPlain) this.#deps.screen.reset()
    if (size !== undefined) {
      // The window may have changed since the greeting.
      this.#plain?.resize(size)
      this.#deps.screen.resize(size)
    }
    this.#ranPlain = true
    this.#attachedAt = this.#deps.clock.now()
    this.#set({ kind: 'live', status: undefined })
    void this.#ask()
  }

  /** Asks what the session waits for: on `tty` that cannot be told apart from its output. */
  #askLater(): void {
    this.#startTimer('ask', ASK_MS, () => void this.#ask())
  }

  async #ask(): Promise<void> {
    const socket = this.#socket
    const answer = await this.#deps.api.find(this.#viewer?.viewer)
    if (this.#closed || this.#socket !== socket || this.#plain === undefined) return
    const status = answer.kind === 'viewer' ? answer.viewer.status : undefined
    // The record may be a moment behind the terminal that is already there.
    const isLate = this.#plain.isAttached && status !== undefined && isWaiting(status.status)
    if (status !== undefined && !isLate) this.#onStatus(status)
    if (!this.#plain.isAttached) this.#askLater()
  }

  /** ttyd's program was there and is not: nothing starts another unasked. Before that, waiting goes on. */
  #onPlainClose(wasAttached: boolean): Promise<void> {
    return this.#check('revoked', (cause, status) => {
      if (status !== undefined && isFinal(status.status)) {
        this.#onStatus(status)
        this.#end(exitOf(status))
      } else if (wasAttached) this.#stop('program_over')
      else this.#retryLater(cause)
    })
  }

  #onClose(code: number): void {
    const status = this.#status
    if (this.#state.kind === 'ended') return
    if (code === CLOSE.token) return void this.#check('revoked')
    if (status !== undefined && isFinal(status.status) && (code === CLOSE.normal || code === CLOSE.sessionGone)) {
      return this.#end(exitOf(status))
    }
    if (code === CLOSE.sessionGone) return this.#stop('gone')
    if (code === CLOSE.restart) return this.#retryLater('restart')
    this.#retryLater(code === 1006 ? 'network' : 'server')
  }

  /** Asks whether this browser is still let in. Refused: `why`; let in or no answer: `goOn`, by default, another attempt. */
  async #check(
    why: Stop,
    goOn = (cause: DropCause, _status?: StatusMessage): void => this.#retryLater(cause),
  ): Promise<void> {
    const answer = await this.#deps.api.find(this.#viewer?.viewer)
    if (this.#closed || this.#socket !== undefined) return
    if (answer.kind === 'refused') return this.#stop(answer.why === 'not_found' ? 'not_found' : why)
    if (answer.kind === 'unreachable') return goOn('network')
    this.#admit(answer.viewer)
    goOn('server', answer.viewer.status)
  }

  /** Lets go of the socket without waiting for its close. True when it had been attached for a while. */
  #dropSocket(): boolean {
    const socket = this.#socket
    const { clock } = this.#deps
    const wasStable = this.#attachedAt !== undefined && clock.now() - this.#attachedAt >= STABLE_MS
    this.#socket = undefined
    this.#plain = undefined
    this.#attachedAt = undefined
    this.#deps.input.disconnect()
    for (const name of ['silence', 'ack', 'open', 'ask'] as const) this.#stopTimer(name)
    if (socket !== undefined) {
      socket.onopen = socket.onmessage = socket.onclose = null
      socket.close()
    }
    return wasStable
  }

  #lost(cause: DropCause): void {
    const wasPlain = this.#plain?.isAttached === true
    if (wasPlain) {
      this.#dropSocket()
      return this.#stop('program_over')
    }
    if (this.#dropSocket()) this.#attempt = 0
    if (cause === 'silence') this.#silences += 1
    if (this.#state.kind !== 'ended') this.#retryLater(cause)
  }

  #retryLater(cause: DropCause): void {
    const delay = this.#deps.retryDelayMs(this.#attempt)
    this.#attempt += 1
    this.#startTimer('attempt', delay, () => this.#again())
    this.#set({ kind: 'reconnecting', at: this.#deps.clock.now() + delay, cause })
  }

  #stop(why: Stop): void {
    this.#stopTimer('attempt')
    this.#set({ kind: 'stopped', why })
  }

  #end(exit: Exit): void {
    this.#deps.input.clear()
    this.#stopTimer('attempt')
    this.#set({ kind: 'ended', exit })
  }

  // --- what the server says

  #heard(): void {
    this.#heardAt = this.#deps.clock.now()
    if (this.#plain?.isAttached === true) return
    this.#startTimer('silence', this.#silenceLimitMs, () => this.#onSilence())
  }

  /** A timer that comes late (a machine that slept, a busy page) says nothing of the server: what came is read first. */
  #onSilence(): void {
    const lateMs = this.#deps.clock.now() - this.#heardAt - this.#silenceLimitMs
    if (lateMs > LATE_MS) this.#startTimer('silence', LATE_MS, () => this.#lost('silence'))
    else this.#lost('silence')
  }

  get #silenceLimitMs(): number {
    if (this.#heartbeatMs === undefined) return SILENCE.unnamed
    return Math.min((2 * this.#heartbeatMs + SILENCE.spare) * 2 ** this.#silences, SILENCE.most)
  }

  #expectHeartbeat(everyMs: number | undefined): void {
    this.#heartbeatMs = everyMs
    this.#heard()
  }

  #receive(bytes: Uint8Array): void {
    let message: ServerMessage
    try {
      if (this.#plain !== undefined) return this.#plain.receive(bytes)
      message = decodeServerMessage(bytes)
    } catch {
      this.#dropSocket()
      this.#stop('protocol')
      return
    }
    this.#handle(message)
  }

  #handle(message: ServerMessage): void {
    const { screen } = this.#deps
    switch (message.type) {
      case 'hello':
        return this.#onHello(message.hello)
      case 'data':
        return screen.write(message.bytes, this.#whenParsed(this.#position.received(message.bytes.length)))
      case 'snapshot':
        return screen.snapshot(message.bytes, this.#whenParsed(this.#position.snapshot(message.seq)))
      case 'size':
        return screen.resize(message.size)
      case 'title':
        return screen.title(message.title)
      case 'status':
        this.#expectHeartbeat(message.status.heartbeatMs)
        return this.#onStatus(message.status)
      case 'driver':
        this.#drives = message.drives
        return this.#deps.onDriver(message.drives)
      case 'heartbeat':
        this.#silences = 0
        return this.#heard()
      case 'exit':
        return this.#end(message.exit)
      case 'progress':
        return this.#onProgress(message.progress)
      default:
        // Preferences, and messages of a later version.
        return
    }
  }

  #onHello(hello: Hello): void {
    this.#attachedAt = this.#deps.clock.now()
    this.#expectHeartbeat(hello.heartbeatMs)
    this.#setMode(hello.role)
    this.#tellsProgress = hello.input === true
    if (!this.#tellsProgress) for (const bytes of this.#deps.input.takeAll()) this.#sendInput(bytes)
    if (this.#position.hello(hello)) this.#deps.screen.reset()
    this.#deps.screen.resize({ columns: hello.columns, rows: hello.rows })
    const size = this.#deps.windowSize()
    if (size !== undefined && !isSameSize(size, this.#toldSize)) this.resize(size)
    if (this.#deps.colours() !== this.#toldColours) this.recolour()
    this.#showProgress()
  }

  #onProgress(progress: InputProgress): void {
    const { input } = this.#deps
    if (input.isConnected) input.progress(progress)
    else input.connect((message) => this.#socket?.send(message), progress)
  }

  #onStatus(status: StatusMessage): void {
    this.#status = status
    this.#deps.onStatus(status, this.#viewer?.clockOffsetMs ?? 0)
    this.#showProgress()
  }

  #showProgress(): void {
    if (this.#state.kind === 'ended') return
    const status = this.#status
    if (status !== undefined && isWaiting(status.status)) this.#set({ kind: 'waiting', status })
    else if (this.#attachedAt !== undefined) this.#set({ kind: 'live', status })
  }

  #whenParsed(mark: Mark): () => void {
    return () => {
      if (this.#position.parsed(mark)) this.#acknowledge()
      else if (!this.#timers.has('ack')) this.#startTimer('ack', IDLE_ACK_MS, () => this.#acknowledge())
    }
  }

  #acknowledge(): void {
    this.#stopTimer('ack')
    if (this.#attachedAt === undefined || this.#state.kind === 'ended') return
    const seq = this.#position.takeAck()
    if (seq !== undefined) this.#socket?.send(encodeJson(ClientType.ack, { seq }))
  }

  // --- small things

  #set(state: ConnectionState): void {
    this.#state = state
    if (!this.#closed) this.#deps.onState(state)
  }

  #setMode(mode: Mode): void {
    this.#mode = mode
    this.#deps.onMode(mode)
  }

  #startTimer(name: TimerName, ms: number, callback: () => void): void {
    this.#stopTimer(name)
    const timer = this.#deps.clock.setTimeout(() => {
      this.#timers.delete(name)
      callback()
    }, ms)
    this.#timers.set(name, timer)
  }

  #stopTimer(name: TimerName): void {
    if (this.#timers.has(name)) this.#deps.clock.clearTimeout(this.#timers.get(name))
    this.#timers.delete(name)
  }
}

function isSameSize(a: TerminalSize, b: TerminalSize | undefined): boolean {
  return a.columns === b?.columns && a.rows === b.rows
}

function isWaiting(status: SessionStatus): boolean {
  return status === 'queued' || status === 'scheduling' || status === 'starting'
}

/** A session that failed before it had a terminal says so by STATUS alone. */
function exitOf(status: StatusMessage): Exit {
  const { reason, hint } = status
  return { status: status.status, reason, hint, detail: null, exitCode: null, signal: null, durationMs: null }
}
