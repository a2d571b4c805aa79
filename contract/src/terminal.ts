/**
 * The terminal's wire protocols, as bytes (no I/O; loads in a browser).
 *
 * `tty` is ttyd 1.7.7's protocol. `cliscale.v1` is a superset: the same type bytes
 * 0-3 and `{`, and the further messages below. Each WebSocket message is binary: one ASCII type byte, then the body.
 *
 * Offsets (`seq`, `have`) count the bytes of the session's output from 0. DATA carries the bytes from the viewer's
 * position on; HELLO and SNAPSHOT set that position. STATUS, SIZE, TITLE and EXIT lie outside the offsets.
 * An `epoch` names one life of the output; offsets of another epoch mean nothing.
 */
import type { Reason, SessionStatus, Stage } from './session.ts'

export const TTY_PROTOCOL = 'tty'
export const V1_PROTOCOL = 'cliscale.v1'
/** A bearer token as subprotocol: `cliscale.bearer.<jwt>`. Never echoed. */
export const BEARER_PROTOCOL_PREFIX = 'cliscale.bearer.'
/** The largest message a client may send, in bytes (type byte included). */
export const MAX_CLIENT_MESSAGE_BYTES = 64 * 1024 + 1
/** Output further behind the head than this is not replayed byte by byte: the viewer gets a SNAPSHOT instead. */
export const MAX_REPLAY_BYTES = 4 * 1024 * 1024
/** What a `cliscale.v1` viewer may have received but not acknowledged, in bytes. */
export const VIEWER_WINDOW_BYTES = 512 * 1024
/** A `cliscale.v1` viewer acknowledges at least each time it has processed this many bytes. */
export const ACK_EVERY_BYTES = 64 * 1024
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
  heartbeat: 0x38, // '8' empty, every 15 s
  status: 0x39, // '9' JSON Status
} as const

export const ClientType = {
  input: 0x30, // '0' bytes
  resize: 0x31, // '1' JSON {columns, rows}
  pause: 0x32, // '2'
  resume: 0x33, // '3'
  ack: 0x34, // '4' JSON {seq}; v1 only
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
}

/** Answer to ClientHello. When `epoch` or `seq` differ from what the client has, it resets its terminal first. */
export interface Hello extends TerminalSize {
  readonly epoch: string
  readonly seq: number
  readonly role: Mode
  readonly viewer: string
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
  const head = encoder.encode(`${JSON.stringify({ seq })}\n`)
  const body = new Uint8Array(head.length + bytes.length)
  body.set(head)
  body.set(bytes, head.length)
  return encodeBytes(ServerType.snapshot, body)
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
    default:
      return { type: 'unknown', code: message[0] ?? -1 }
  }
}

/** Whole columns and rows within our limits; anything that is not a finite number falls back to `fallback`. */
export function clampSize(value: { columns?: unknown; rows?: unknown }, fallback: TerminalSize): TerminalSize {
  const clamp = (v: unknown, max: number, or: number): number =>
    typeof v === 'number' && Number.isFinite(v) && v >= 1 ? Math.min(Math.floor(v), max) : or
  return {
    columns: clamp(value.columns, MAX_COLUMNS, fallback.columns),
    rows: clamp(value.rows, MAX_ROWS, fallback.rows),
  }
}
