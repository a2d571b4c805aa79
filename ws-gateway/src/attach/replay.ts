/** The terminal of a session whose host is gone, spoken by the gateway from the stored output. */
import {
  type ClientHello,
  CLOSE,
  DEFAULT_SIZE,
  encodeBytes,
  encodeJson,
  encodeSnapshot,
  type Hello,
  MAX_CLIENT_MESSAGE_BYTES,
  MAX_REPLAY_BYTES,
  ServerType,
  type TerminalSize,
  V1_PROTOCOL,
} from '@cliscale/contract'
import type { Grant, OutputRow, SessionState, Store } from '../store.ts'
import { binaryFrame, type FirstMessage, FirstMessageReader } from './frames.ts'
import type { HeldClient } from './held-client.ts'
import { exitFrame, exitOf, lineFrame, noteLine, type Protocol } from './speaker.ts'

export interface ReplayOptions {
  readonly store: Store
  readonly client: HeldClient
  readonly grant: Grant
  /** The session as it ended. */
  readonly state: SessionState
  readonly protocol: Protocol
  /** How long to wait for the client's first message, in milliseconds; without it all is replayed. */
  readonly helloMs: number
  /** Aborted when the client has gone, or the gateway drains. */
  readonly signal: AbortSignal
}

const CHUNKS_PER_QUERY = 16
/** A client that takes nothing for this long is not there. */
const STALLED_MS = 60_000

/**
 * Writes HELLO, the output with its sizes, and EXIT (on `tty` the output and a line), and answers the code to close
 * with. It writes whole frames only, so that a Close may follow whenever it returns or throws.
 *
 * @throws AppError `store_unavailable`; the signal's reason when it says so.
 */
export async function replay(options: ReplayOptions): Promise<{ code: number; reason: string }> {
  // One that has aborted tells no listener of it any more.
  options.signal.throwIfAborted()
  const first = await firstMessage(options)
  if (first?.type === 'fault') return first
  if (first?.type === 'close') return { code: CLOSE.normal, reason: '' }
  const hello = first === undefined ? {} : parseHello(first.body)
  if (hello === undefined) return { code: CLOSE.policy, reason: 'the first message must be JSON' }
  await writeOutput(options, hello)
  await write(options, exitFrame(options.protocol, exitOf(options.state)))
  return { code: CLOSE.normal, reason: 'the session has ended' }
}

/** The client's first message; undefined when none came in time. What follows it is read and dropped. */
function firstMessage(options: ReplayOptions): Promise<FirstMessage | undefined> {
  const reader = new FirstMessageReader(MAX_CLIENT_MESSAGE_BYTES)
  return new Promise((resolve) => {
    let isDone = false
    const settle = (message: FirstMessage | undefined): void => {
      isDone = true
      clearTimeout(timer)
      options.signal.removeEventListener('abort', onAbort)
      resolve(message)
    }
    const onAbort = (): void => settle(undefined)
    const timer = setTimeout(onAbort, options.helloMs)
    options.signal.addEventListener('abort', onAbort, { once: true })
    options.client.readWith((chunk) => {
      if (isDone) return
      const message = reader.push(chunk)
      if (message) settle(message)
    })
  })
}

function parseHello(body: Buffer): ClientHello | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as ClientHello) : undefined
  } catch {
    return undefined
  }
}

interface Start {
  /** Offset that the client's terminal is at. */
  readonly seq: number
  /** Start of the first chunk to read. */
  readonly chunk: number
  /** Bytes of the output that this viewer neither has nor gets. */
  readonly leftOut: number
}

/** Where to begin: where the client is, else far enough back, at the start of a chunk. */
async function findStart({ store, state }: ReplayOptions, hello: ClientHello): Promise<Start> {
  const end = await store.outputEnd(state.id)
  const { have } = hello
  const isSameLife = hello.epoch !== undefined && hello.epoch === epochOf(state)
  const earliest = (await store.firstChunkFrom(state.id, Math.max(0, end - MAX_REPLAY_BYTES))) ?? end
  if (!isSameLife || !Number.isSafeInteger(have) || (have as number) < earliest)
    return { seq: earliest, chunk: earliest, leftOut: earliest }
  const seq = have as number
  // It may have seen bytes that were never stored: nothing is missing then.
  if (seq >= end) return { seq, chunk: seq, leftOut: 0 }
  return { seq, chunk: (await store.chunkHolding(state.id, seq)) ?? earliest, leftOut: 0 }
}

function epochOf(state: SessionState): string {
  return state.launchId ?? state.id
}

async function writeOutput(options: ReplayOptions, hello: ClientHello): Promise<void> {
  const isV1 = options.protocol === V1_PROTOCOL
  const start = await findStart(options, hello)
  let rows = await options.store.readOutput(options.state.id, start.chunk, CHUNKS_PER_QUERY)
  let size: TerminalSize = rows[0] ? sizeOf(rows[0]) : DEFAULT_SIZE
  if (isV1) await write(options, helloFrame(options, start.seq, size))
  if (start.leftOut > 0) await write(options, leftOutFrame(options, start))
  while (rows.length > 0) {
    for (const row of rows) {
      const next = sizeOf(row)
      if (isV1 && (next.columns !== size.columns || next.rows !== size.rows))
        await write(options, binaryFrame(encodeJson(ServerType.size, next)))
      size = next
      const bytes = row.data.subarray(Math.max(0, start.seq - row.offset))
      if (bytes.length > 0) await write(options, binaryFrame(encodeBytes(ServerType.data, bytes)))
    }
    const last = rows.at(-1)
    rows = last ? await options.store.readOutput(options.state.id, last.offset + 1, CHUNKS_PER_QUERY) : []
  }
}

/** Says what is not shown and where it is. Outside of the offsets: a viewer counts only what its program printed. */
function leftOutFrame({ protocol, state }: ReplayOptions, { seq, leftOut }: Start): Buffer {
  const text = `the first ${inMegabytes(leftOut)} of the output are not shown here; for all of it: GET /api/sessions/${state.id}/logs`
  if (protocol !== V1_PROTOCOL) return lineFrame(text)
  return binaryFrame(encodeSnapshot(seq, noteLine(text)))
}

function inMegabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function sizeOf(row: OutputRow): TerminalSize {
  return { columns: row.columns, rows: row.rows }
}

function helloFrame({ state, grant }: ReplayOptions, seq: number, size: TerminalSize): Buffer {
  const hello: Hello = { epoch: epochOf(state), seq, role: grant.mode, viewer: grant.viewer, ...size }
  return binaryFrame(encodeJson(ServerType.hello, hello))
}

/** Writes a frame and waits until there is room for the next. */
async function write({ client, signal }: ReplayOptions, frame: Buffer): Promise<void> {
  signal.throwIfAborted()
  if (client.socket.write(frame)) return
  await new Promise<void>((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer)
      client.socket.off('drain', settle)
      signal.removeEventListener('abort', settle)
      if (signal.aborted) reject(signal.reason as Error)
      else resolve()
    }
    const timer = setTimeout(() => client.socket.destroy(), STALLED_MS)
    client.socket.once('drain', settle)
    signal.addEventListener('abort', settle, { once: true })
  })
}
