/**
 * The terminal's wire protocols, as bytes (no I/O; loads in a browser).
 *
 * `tty` is ttyd 1.7.7's protocol. `cliscale.v1` is a superset: the same type bytes
 * 0-3 and `{`, and the further messages below. Each WebSocket message is binary: one ASCII type byte, then the body.
 *
 * Offsets (`seq`, `have`) count the bytes of the session's output from 0. DATA carries the bytes from the viewer's
 * position on; HELLO and SNAPSHOT set that position. STATUS, SIZE, TITLE and EXIT lie outside the offsets.
 * An `epoch` names one life of the output; offsets of another epoch mean nothing.
 *
 * What a viewer types is a stream of bytes with offsets of its own, which outlives its connections: TYPED carries bytes
 * from an offset on, and PROGRESS tells how far they came. A viewer keeps what the program has not taken, has at most
 * INPUT_WINDOW_BYTES of it on the way, and on a new connection goes on at `received`: nothing is lost or doubled. INPUT
 * (as of ttyd) has no offsets; a viewer that sends more of it than is taken is not read on.
 */
import type { Reason, SessionStatus, Stage } from './session.ts'
import type { TerminalColours } from './terminal-colours.ts'

export * from './terminal-colours.ts'

export const TTY_PROTOCOL = 'tty'
export const V1_PROTOCOL = 'cliscale.v1'
/** A bearer token as subprotocol: `cliscale.bearer.<jwt>`. Never echoed. */
export const BEARER_PROTOCOL_PREFIX = 'cliscale.bearer.'
/** The largest message a client may send, in bytes (type byte included). */
export const MAX_CLIENT_MESSAGE_BYTES = 64 * 1024 + 1
/** Output further behind the head than this is not replayed byte by byte: the viewer gets a SNAPSHOT instead. */
export const MAX_REPLAY_BYTES = 4 * 1024 * 1024
/** What a `cliscale.v1` viewer may have received but not acknowledged, in bytes; less for one that takes long. */
export const VIEWER_WINDOW_BYTES = 256 * 1024
/** A `cliscale.v1` viewer acknowledges at least each time it has processed this many bytes. */
export const ACK_EVERY_BYTES = 32 * 1024
/** Input that a viewer may have sent and the program not taken, in bytes; a single message may go beyond. */
export const INPUT_WINDOW_BYTES = 64 * 1024
/** The session host says something at least this often, in milliseconds; HELLO names it. */
export const HEARTBEAT_MS = 4_000
/**
 * Switches off what makes a terminal report or hold back on behalf of a program: application cursor keys, the mouse in
 * all its ways, focus, marks around pastes, synchronized output and changes of colour. For when the program is gone.
 */
export const REPORTS_OFF = '\x1b[?1;9;1000;1002;1003;1004;1005;1006;1015;1016;2004;2026;2031l'
export const DEFAULT_SIZE: TerminalSize = { columns: 120, rows: 40 }
export const MAX_COLUMNS = 1000
export const MAX_ROWS = 500

export const ServerType = {
  data: 0x30, // '0' raw output bytes
  title: 0x31, // '1' UTF-8
  preferences: 0x32, // '2' JSON
  hello: 0x34, // '4' JSON Hello; v1 only, as all below
  snapshot: 0x35, // '5' JSON {seq}, LF, bytes that draw screen and scrollback on a reset terminal
  size: 0x36, // '6' JSON TerminalSize: the size that all bytes after it were laid out for
  exit: 0x37, // '7' JSON Exit
  heartbeat: 0x38, // '8' empty, every HEARTBEAT_MS
  status: 0x39, // '9' JSON Status
  progress: 0x3a, // ':' JSON InputProgress, of the stream that ClientHello names; first when HELLO has `input`
  driver: 0x3b, // ';' JSON Driver, to a read-write viewer: after HELLO, and when it changes
} as const

export const ClientType = {
  input: 0x30, // '0' bytes
  resize: 0x31, // '1' JSON Resize
  pause: 0x32, // '2'
  resume: 0x33, // '3'
  ack: 0x34, // '4' JSON {seq}; v1 only, as the next
  typed: 0x35, // '5' JSON TypedHead, LF, bytes; only after the connection's first PROGRESS
  first: 0x7b, // '{' JSON ClientHello, must be the first message; nothing is sent before it but STATUS
} as const

export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}
export type Mode = 'rw' | 'ro'

/** First message of a client. `epoch` and `have` ask to go on from an offset; both or neither. */
export interface ClientHello extends Partial<TerminalSize> {
  readonly AuthToken?: string
  readonly epoch?: string
  readonly have?: number
  /** Names the stream of what this viewer types: 1 to 64 characters of A-Z, a-z, 0-9 and "-". */
  readonly input?: string
  /** When it was last attached, this viewer decided the size, and would go on. */
  readonly drives?: boolean
  /** What this viewer shows; a program that asks is told the colours of the viewer whose size rules. */
  readonly colours?: TerminalColours
}

/** Another size of the viewer's window, or other colours (v1 only), or both. */
export interface Resize extends Partial<TerminalSize> {
  /** Makes this viewer the one that decides the size. */
  readonly take?: boolean
  readonly colours?: TerminalColours
}

/** Answer to ClientHello. When `epoch` or `seq` differ from what the client has, it resets its terminal first. */
export interface Hello extends TerminalSize {
  readonly epoch: string
  readonly seq: number
  readonly role: Mode
  readonly viewer: string
  /** How often the sender says something at least. Absent: every 15 s. */
  readonly heartbeatMs?: number
  /** PROGRESS will come for the stream that ClientHello named, and TYPED is understood. */
  readonly input?: boolean
}

/** How far a viewer's input came, in bytes of its stream. */
export interface InputProgress {
  /** It is kept by the session up to here. */
  readonly received: number
  /** The program's terminal took it up to here, or it was dropped. */
  readonly taken: number
  /** So many of the bytes before `taken` were dropped since the last PROGRESS, because a key interrupted the program. */
  readonly dropped?: number
  /** Since the last PROGRESS the program's terminal cut a line that was longer than it holds; the program reads lines. */
  readonly isLineCut?: boolean
}

export interface TypedHead {
  /** Offset of the first byte. */
  readonly at: number
  /**
   * The byte lies beyond what was sent. Where the terminal makes a signal of it (Ctrl-C), all before it is dropped, as
   * a terminal flushes its input; else this message counts for nothing, and the byte comes again in its turn.
   */
  readonly ahead?: true
}

/** Whether a byte can be a key that interrupts: a control other than those that text and key sequences are made of. */
export function mayInterrupt(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d && byte !== 0x1b) || byte === 0x7f
}

/** Whether this viewer's window decides the size. */
export interface DriverMessage {
  readonly drives: boolean
}

/** How a session ended. `exitCode` is null when a signal ended it or it never ran. */
export interface Exit {
  readonly status: SessionStatus
  readonly reason: Reason | null
  readonly detail: string | null
  readonly hint: string | null
  readonly exitCode: number | null
  readonly signal: string | null
  readonly durationMs: number | null
}

/** What a session is doing now. `since` is ISO 8601. */
export interface StatusMessage {
  readonly status: SessionStatus
  readonly stage: Stage | null
  readonly since: string
  readonly reason: Reason | null
  readonly hint: string | null
  /** The first line of the command, shortened, without control characters or the values of variables. Absent: the sender does not know it. */
  readonly command?: string
  /** The session is being ended. Absent: it is not, or the sender does not know. */
  readonly stopping?: true
  /** How often the sender says something at least. Absent: as before. */
  readonly heartbeatMs?: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A message of a type byte and raw bytes. */
export function encodeBytes(type: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(body.length + 1)
  out[0] = type
  out.set(body, 1)
  return out
}

/** A message of a type byte and JSON. */
export function encodeJson(type: number, value: unknown): Uint8Array<ArrayBuffer> {
  return encodeBytes(type, encoder.encode(JSON.stringify(value)))
}

/** ClientHello as it stands on the wire: its own `{` is the type byte. */
export function encodeClientHello(hello: ClientHello): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify(hello)) as Uint8Array<ArrayBuffer>
}

/** SNAPSHOT: `{seq}` LF bytes. */
export function encodeSnapshot(seq: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return encodeBytes(ServerType.snapshot, withHead({ seq }, bytes))
}

/** TYPED: its head, LF, bytes. */
export function encodeTyped(head: TypedHead, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return encodeBytes(ClientType.typed, withHead(head, bytes))
}

function withHead(value: unknown, bytes: Uint8Array): Uint8Array {
  const head = encoder.encode(`${JSON.stringify(value)}\n`)
  const body = new Uint8Array(head.length + bytes.length)
  body.set(head)
  body.set(bytes, head.length)
  return body
}

export type ServerMessage =
  | { readonly type: 'data'; readonly bytes: Uint8Array }
  | { readonly type: 'title'; readonly title: string }
  | { readonly type: 'preferences' }
  | { readonly type: 'hello'; readonly hello: Hello }
  | { readonly type: 'snapshot'; readonly seq: number; readonly bytes: Uint8Array }
  | { readonly type: 'size'; readonly size: TerminalSize }
  | { readonly type: 'exit'; readonly exit: Exit }
  | { readonly type: 'heartbeat' }
  | { readonly type: 'status'; readonly status: StatusMessage }
  | { readonly type: 'progress'; readonly progress: InputProgress }
  | { readonly type: 'driver'; readonly drives: boolean }
  | { readonly type: 'unknown'; readonly code: number }

function json<T>(bytes: Uint8Array): T {
  return JSON.parse(decoder.decode(bytes)) as T
}

/** Reads a server's message. Throws SyntaxError when its JSON is broken; an unknown type is `unknown`, to be ignored. */
export function decodeServerMessage(message: Uint8Array): ServerMessage {
  const body = message.subarray(1)
  switch (message[0]) {
    case ServerType.data:
      return { type: 'data', bytes: body }
    case ServerType.title:
      return { type: 'title', title: decoder.decode(body) }
    case ServerType.preferences:
      return { type: 'preferences' }
    case ServerType.hello:
      return { type: 'hello', hello: json<Hello>(body) }
    case ServerType.snapshot: {
      const lf = body.indexOf(0x0a)
      const { seq } = json<{ seq: number }>(body.subarray(0, lf))
      return { type: 'snapshot', seq, bytes: body.subarray(lf + 1) }
    }
    case ServerType.size:
      return { type: 'size', size: json<TerminalSize>(body) }
    case ServerType.exit:
      return { type: 'exit', exit: json<Exit>(body) }
    case ServerType.heartbeat:
      return { type: 'heartbeat' }
    case ServerType.status:
      return { type: 'status', status: json<StatusMessage>(body) }
    case ServerType.progress:
      return { type: 'progress', progress: json<InputProgress>(body) }
    case ServerType.driver:
      return { type: 'driver', drives: json<DriverMessage>(body).drives }
    default:
      return { type: 'unknown', code: message[0] ?? -1 }
  }
}

/** Whether it can be a number of columns or rows, once it is clamped. */
export function isDimension(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 1
}

/** Whole columns and rows within our limits; anything that is not a finite number falls back to `fallback`. */
export function clampSize(value: { columns?: unknown; rows?: unknown }, fallback: TerminalSize): TerminalSize {
  const clamp = (v: unknown, max: number, or: number): number => (isDimension(v) ? Math.min(Math.floor(v), max) : or)
  return {
    columns: clamp(value.columns, MAX_COLUMNS, fallback.columns),
    rows: clamp(value.rows, MAX_ROWS, fallback.rows),
  }
}
