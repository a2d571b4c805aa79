import type { WebSocket } from 'ws'
import {
  type AttachClaims,
  clampSize,
  CLOSE,
  encodeBytes,
  encodeJson,
  encodeSnapshot,
  type Exit,
  exitLine,
  type Hello,
  isDimension,
  mayInterrupt,
  type Mode,
  parseColours,
  ServerType,
  type StatusMessage,
  type TerminalColours,
  type TerminalSize,
  TTY_PROTOCOL,
  V1_PROTOCOL,
  VIEWER_WINDOW_BYTES,
} from '@cliscale/contract'
import { FlightWindow } from '../../relay/flight-window.ts'
import type { Typing } from '../typing.ts'
import type { Snapshot } from './checkpoint.ts'
import type { Claim } from './driver.ts'
import { decodeClientMessage, isOffset } from './client-messages.ts'
import type { TerminalLimits } from './limits.ts'
import type { OutputLog } from './output-log.ts'
import type { Screen } from './screen.ts'
import { ViewerInput } from './viewer-input.ts'

/** Fixed, because ttyd's own title shows the command line to every viewer. */
const TTY_TITLE = 'CLI Scale'
const CHUNK_BYTES = 64 * 1024
/** What is on its way to a viewer keeps it busy for about so long; the least is what viewers of older pages need. */
const FLIGHT = {
  targetMs: 100,
  minBytes: 64 * 1024,
  startBytes: VIEWER_WINDOW_BYTES,
  maxBytes: VIEWER_WINDOW_BYTES,
} as const
/**
 * After a key that interrupts, a viewer that is further behind than this waits until the output is quiet, or for
 * `mostMs`, and then goes on from a snapshot: what lies between is what nobody wanted to see any more.
 */
const CATCH_UP = { behindBytes: 128 * 1024, quietMs: 25, mostMs: 125, nearBytes: 64 * 1024, limitMs: 75 } as const
/** What may wait in this process for a socket before sending stops; `tty` viewers have nothing but this. */
const SOCKET_BUFFER_BYTES = { [V1_PROTOCOL]: 1024 * 1024, [TTY_PROTOCOL]: 256 * 1024 } as const
const RESET = Buffer.from('\x1bc')

export type ViewerProtocol = typeof V1_PROTOCOL | typeof TTY_PROTOCOL

export interface ViewerDeps {
  readonly log: OutputLog
  readonly screen: Screen
  readonly limits: TerminalLimits
  /** Milliseconds of a clock that never goes back. */
  readonly clock: () => number
  readonly typing: Typing
  /** A read-write viewer types; `interrupts`: a key that may interrupt the program. */
  readonly onTyped: (viewer: Viewer, interrupts: boolean) => void
  readonly onSize: (viewer: Viewer, size: TerminalSize, claim: Claim) => void
  /** A read-write viewer shows other colours. */
  readonly onColours: (viewer: Viewer) => void
  /** Whether this viewer's size rules. */
  readonly isDriver: (viewer: Viewer) => boolean
}

/**
 * One connection of a viewer. It pulls from the log at its own speed; what it holds in memory is bounded by its window
 * and the socket's buffer, whatever the command prints.
 *
 * States: `new` → first message → `greeted` (waits for the epoch) → `live` → `closing`.
 */
export class Viewer {
  readonly viewer: string
  readonly mode: Mode
  readonly protocol: ViewerProtocol
  /** Output bytes sent. */
  sentBytes = 0
  /** What it shows; undefined where it has not said. */
  colours: TerminalColours | undefined
  readonly #deps: ViewerDeps
  readonly #socket: WebSocket
  readonly #input: ViewerInput
  #state: 'new' | 'greeted' | 'live' | 'closing' = 'new'
  #position = 0
  #acked = 0
  readonly #flight: FlightWindow
  #hold: NodeJS.Timeout | undefined
  #hurryUntil = 0
  #size: TerminalSize | undefined
  /** The size that its window has room for, as it last said. */
  #windowSize: TerminalSize | undefined
  #paused = false
  #awaitingSnapshot = false
  #socketFull = false
  #status: StatusMessage | undefined
  #namesInput = false
  /** What it was told last of whether its size rules. */
  #drives: boolean | undefined
  #wish: { epoch: unknown; have: unknown } = { epoch: undefined, have: undefined }
  #heardAt: number
  #pingedAt: number
  #beatAt: number
  readonly #openedAt: number
  #closeTimer: NodeJS.Timeout | undefined

  constructor(socket: WebSocket, claims: AttachClaims, deps: ViewerDeps) {
    this.#socket = socket
    this.#deps = deps
    this.viewer = claims.viewer
    this.mode = claims.mode
    this.protocol = socket.protocol === V1_PROTOCOL ? V1_PROTOCOL : TTY_PROTOCOL
    this.#openedAt = this.#heardAt = this.#pingedAt = this.#beatAt = deps.clock()
    this.#flight = new FlightWindow({ ...FLIGHT, clock: deps.clock })
    this.#input = new ViewerInput({
      socket,
      viewer: claims.viewer,
      typing: deps.typing,
      bytesPerSecond: deps.limits.inputBytesPerSecond,
      clock: deps.clock,
    })
    socket.on('message', (data) => this.#onMessage(data as Buffer))
    socket.on('ping', (data) => this.#heard(data.length))
    socket.on('pong', (data) => this.#heard(data.length))
    // ws closes with the code that fits (1002, 1007, 1008, 1009); what is left is that it ends.
    socket.on('error', () => this.#closing(deps.limits.closeMs))
    socket.once('close', () => this.#leave())
  }

  /** Whether everything up to the head has left this process; true for one that has not said its first message. */
  get isIdle(): boolean {
    if (this.#state === 'closing') return false
    return this.#state === 'new' || (this.#position === this.#deps.log.head && this.#socket.bufferedAmount === 0)
  }

  /** Sends what may be sent now. */
  pump(): void {
    if (this.#state === 'greeted') this.#greet()
    this.#sendStatus()
    this.#sendDriver()
    for (;;) {
      if (this.#mayHoldOn()) return this.#holdOn()
      if (!this.#maySend()) return
      const { log, limits } = this.#deps
      if (log.head - this.#position > limits.replayBytes) return this.#jump()
      const chunk = log.read(this.#position, Math.min(CHUNK_BYTES, this.#room()))
      if (!chunk) {
        if (this.#position < log.head) return this.#jump()
        this.#sendSize(log.size)
        if (log.exit) this.#finish(log.exit)
        return
      }
      this.#sendSize(chunk.size)
      this.#position += chunk.bytes.length
      this.sentBytes += chunk.bytes.length
      this.#flight.sent(this.#position)
      this.#send(encodeBytes(ServerType.data, chunk.bytes))
    }
  }

  /** Shows a status as soon as the socket takes it; an older one that still waits is replaced. */
  setStatus(status: StatusMessage): void {
    if (this.protocol !== V1_PROTOCOL) return
    this.#status = { ...status, heartbeatMs: this.#deps.limits.heartbeatMs }
    this.#sendStatus()
  }

  /** Somebody typed a key that interrupts the program: this viewer is to see the end, not the way there. */
  catchUp(): void {
    this.#hurryUntil = this.#deps.clock() + CATCH_UP.mostMs
    this.pump()
  }

  #isBehind(): boolean {
    return this.#deps.log.head - this.#position > CATCH_UP.behindBytes
  }

  #mayHoldOn(): boolean {
    if (this.#state !== 'live' || this.#hold !== undefined || this.#awaitingSnapshot) return false
    return this.#deps.clock() < this.#hurryUntil && this.#isBehind()
  }

  /** Sends nothing until the output is quiet, or for as long as it takes at most. */
  #holdOn(): void {
    const { clock, log } = this.#deps
    const { head } = log
    this.#hold = setTimeout(() => {
      if (head !== log.head && clock() < this.#hurryUntil) return this.#holdOn()
      this.#hold = undefined
      this.#hurryUntil = 0
      if (this.#isBehind() && !this.#awaitingSnapshot) this.#jump(true)
      else this.pump()
    }, CATCH_UP.quietMs)
  }

  /** Input of a stream came further. */
  onProgress(stream: string): void {
    this.#input.onProgress(stream, this.#state === 'live')
  }

  /** Heartbeat, ping, and the end of viewers that are gone. Call about every second. */
  tick(): void {
    const { clock, limits } = this.#deps
    const now = clock()
    if (this.#state === 'closing') return
    // One that is not read cannot be heard; that it has gone shows when something is written to it.
    if (this.#input.isPaused) this.#heardAt = now
    if (now - this.#heardAt > limits.silenceMs) return this.#socket.terminate()
    if (this.#state === 'new' && now - this.#openedAt > limits.helloMs)
      return this.close(CLOSE.policy, 'no first message')
    if (now - this.#pingedAt >= limits.pingMs) {
      this.#pingedAt = now
      this.#socket.ping()
    }
    if (this.protocol !== V1_PROTOCOL || this.#state === 'new' || now - this.#beatAt < limits.heartbeatMs) return
    this.#beatAt = now
    if (!this.#isSocketFull()) this.#send(Uint8Array.of(ServerType.heartbeat))
  }

  /** Closes by a handshake that has a deadline; nothing that still comes from the viewer counts. */
  close(code: number, reason: string, limitMs = this.#deps.limits.closeMs): void {
    if (this.#state === 'closing') return
    this.#closing(limitMs)
    this.#socket.close(code, reason)
  }

  /** Ends the connection without a handshake. */
  terminate(): void {
    this.#socket.terminate()
  }

  #closing(limitMs: number): void {
    this.#leave()
    this.#closeTimer = setTimeout(() => this.#socket.terminate(), limitMs)
  }

  #leave(): void {
    this.#state = 'closing'
    // The answer to a close must be read.
    this.#input.end()
    clearTimeout(this.#hold)
    clearTimeout(this.#closeTimer)
  }

  #heard(bytes: number): void {
    this.#heardAt = this.#deps.clock()
    this.#input.heard(bytes)
  }

  #onMessage(data: Buffer): void {
    if (this.#state === 'closing') return
    this.#heard(data.length)
    const message = decodeClientMessage(data)
    if (this.#state === 'new') {
      if (message.type !== 'hello') return this.close(CLOSE.protocolError, 'the first message must be JSON')
      this.#state = 'greeted'
      this.#wish = { epoch: message.value['epoch'], have: message.value['have'] }
      this.#hearColours(message.value)
      this.#wantSize(message.value)
      this.#namesInput = this.mode === 'rw' && this.#input.nameStream(message.value['input'])
      return this.pump()
    }
    switch (message.type) {
      case 'input':
        if (this.#mayType(message.bytes)) this.#input.type(message.bytes)
        return
      case 'typed':
        if (this.#mayType(message.bytes)) this.#input.typeAt(message.at, message.bytes, message.ahead)
        return
      case 'resize':
        this.#hearColours(message.value)
        return this.#wantSize(message.value)
      case 'pause':
        this.#paused = true
        return
      case 'resume':
        this.#paused = false
        return this.pump()
      case 'ack':
        if (message.seq > this.#position || message.seq <= this.#acked) return
        this.#acked = message.seq
        this.#flight.acknowledged(message.seq)
        return this.pump()
    }
  }

  #mayType(bytes: Buffer): boolean {
    if (this.mode !== 'rw' || this.#deps.log.exit) return false
    this.#deps.onTyped(this, bytes.length === 1 && mayInterrupt(bytes[0]!))
    return true
  }

  #hearColours(value: Readonly<Record<string, unknown>>): void {
    const colours = this.protocol === V1_PROTOCOL && this.mode === 'rw' ? parseColours(value['colours']) : undefined
    if (colours === undefined) return
    this.colours = colours
    this.#deps.onColours(this)
  }

  #wantSize(value: Readonly<Record<string, unknown>>): void {
    if (this.mode !== 'rw' || !(isDimension(value['columns']) || isDimension(value['rows']))) return
    const claim = { take: value['take'] === true, drives: value['drives'] === true }
    this.#windowSize = clampSize(value, this.#windowSize ?? this.#deps.log.size)
    this.#deps.onSize(this, this.#windowSize, claim)
  }

  /** Answers the first message: HELLO, or ttyd's title and preferences. A `cliscale.v1` viewer waits for the epoch. */
  #greet(): void {
    const { log } = this.#deps
    if (this.protocol === TTY_PROTOCOL) {
      this.#state = 'live'
      this.#send(encodeBytes(ServerType.title, Buffer.from(TTY_TITLE)))
      this.#send(encodeJson(ServerType.preferences, {}))
      return
    }
    const { epoch } = log
    if (epoch === undefined) return
    this.#state = 'live'
    const { have } = this.#wish
    if (this.#wish.epoch === epoch && isOffset(have) && have <= log.head) this.#position = this.#acked = have
    this.#flight.jump(this.#position)
    this.#size = log.read(this.#position, 1)?.size ?? log.size
    const input = this.#namesInput ? { input: true } : {}
    const { viewer, mode: role } = this
    const { heartbeatMs } = this.#deps.limits
    const hello: Hello = { epoch, seq: this.#position, ...this.#size, role, viewer, heartbeatMs, ...input }
    this.#send(encodeJson(ServerType.hello, hello))
    this.#input.tell()
  }

  #room(): number {
    return this.protocol === V1_PROTOCOL ? this.#flight.bytes - (this.#position - this.#acked) : CHUNK_BYTES
  }

  #maySend(overWindow = false): boolean {
    if (this.#state !== 'live' || this.#paused || this.#awaitingSnapshot || this.#hold !== undefined) return false
    return (overWindow || this.#room() > 0) && !this.#isSocketFull()
  }

  #isSocketFull(): boolean {
    this.#socketFull = this.#socket.bufferedAmount > SOCKET_BUFFER_BYTES[this.protocol]
    return this.#socketFull
  }

  #send(message: Uint8Array): void {
    this.#socket.send(message, { binary: true }, () => {
      if (this.#socketFull && !this.#isSocketFull()) this.pump()
    })
  }

  #sendStatus(): void {
    if (!this.#status || this.#state === 'closing' || this.#isSocketFull()) return
    this.#send(encodeJson(ServerType.status, this.#status))
    this.#status = undefined
  }

  #sendDriver(): void {
    if (this.protocol !== V1_PROTOCOL || this.mode !== 'rw' || this.#state !== 'live') return
    const drives = this.#deps.isDriver(this)
    if (drives === this.#drives || this.#isSocketFull()) return
    this.#drives = drives
    this.#send(encodeJson(ServerType.driver, { drives }))
  }

  #sendSize(size: TerminalSize): void {
    if (this.#size?.columns === size.columns && this.#size.rows === size.rows) return
    this.#size = size
    if (this.protocol === V1_PROTOCOL) this.#send(encodeJson(ServerType.size, size))
  }

  /** Goes on from a snapshot, because what lies between is too much or no longer there. */
  #jump(overWindow = false): void {
    this.#awaitingSnapshot = true
    void this.#deps.screen.snapshot(overWindow ? CATCH_UP : undefined).then((snapshot) => {
      this.#awaitingSnapshot = false
      if (!this.#maySend(overWindow)) return
      if (snapshot.seq > this.#position) this.#sendSnapshot(snapshot)
      else this.#position = this.#nextReadable()
      this.pump()
    })
  }

  /** Where there is something to send; always further on, also when the disk does not give what it should. */
  #nextReadable(): number {
    const { log } = this.#deps
    const next = log.nextReadable(this.#position)
    return log.read(next, 1) ? next : log.head
  }

  #sendSnapshot(snapshot: Snapshot): void {
    this.#sendSize(snapshot.size)
    this.#position = this.#acked = snapshot.seq
    this.#flight.jump(snapshot.seq)
    this.#send(snapshotMessage(snapshot, this.protocol))
  }

  #finish(exit: Exit): void {
    if (this.protocol === V1_PROTOCOL) this.#send(encodeJson(ServerType.exit, exit))
    else this.#send(encodeBytes(ServerType.data, Buffer.from(exitLine(exit))))
    // What lies in the socket's buffer may be much for a slow line: it gets the time that a silent viewer gets.
    this.close(CLOSE.normal, 'the session has ended', this.#deps.limits.silenceMs)
  }
}

const messages = new WeakMap<Snapshot, Partial<Record<ViewerProtocol, Uint8Array>>>()

/** All viewers are sent the same bytes: a copy for each would be megabytes for each. */
function snapshotMessage(snapshot: Snapshot, protocol: ViewerProtocol): Uint8Array {
  const known = messages.get(snapshot) ?? {}
  messages.set(snapshot, known)
  known[protocol] ??=
    protocol === V1_PROTOCOL
      ? encodeSnapshot(snapshot.seq, snapshot.bytes)
      : encodeBytes(ServerType.data, Buffer.concat([RESET, snapshot.bytes]))
  return known[protocol]
}
