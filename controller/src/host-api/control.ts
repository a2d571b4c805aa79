import type { ServerResponse } from 'node:http'
import { CONTROL_PING_SECONDS, type ControlMessage, isFinal } from '@cliscale/contract'
import { isStoreUnavailable, type Logger } from '@cliscale/service-kit'
import type pg from 'pg'
import { type ControlState, findControlStates } from '../sessions/open-sessions.ts'
import type { SessionSignals } from '../sessions/signals.ts'

/** A host that has not read this much is not reading: it will come back. */
const MAX_UNREAD_BYTES = 64 * 1024

/** The control streams of all hosts that are connected to this process. */
export interface ControlStreams {
  /** Turns a response into the stream of a session; ends when the session is final or the host leaves. */
  open(sessionId: string, response: ServerResponse): void
  readonly size: number
  close(): void
}

interface Stream {
  readonly sessionId: string
  readonly response: ServerResponse
  stopSent: boolean
}

/**
 * Streams for hosts. One subscription and one query at a time serve them all: a change, or a connection to the database
 * that came back, marks sessions as due, and what is due is read together. Each ping reads all of them again, so that a
 * notification that got lost costs ten seconds and no more.
 */
export function createControlStreams(deps: {
  readonly pool: pg.Pool
  readonly signals: SessionSignals
  readonly logger: Logger
  readonly pingMs?: number
}): ControlStreams {
  return new PostgresControlStreams(deps)
}

class PostgresControlStreams implements ControlStreams {
  readonly #deps: Parameters<typeof createControlStreams>[0]
  readonly #streams = new Set<Stream>()
  readonly #due = new Set<string>()
  readonly #timer: NodeJS.Timeout
  readonly #unsubscribe: () => void
  #reading = false
  #closed = false

  constructor(deps: Parameters<typeof createControlStreams>[0]) {
    this.#deps = deps
    this.#unsubscribe = deps.signals.subscribe((sessionId) => this.#changed(sessionId))
    this.#timer = setInterval(() => this.#ping(), deps.pingMs ?? CONTROL_PING_SECONDS * 1000)
  }

  get size(): number {
    return this.#streams.size
  }

  open(sessionId: string, response: ServerResponse): void {
    const stream: Stream = { sessionId, response, stopSent: false }
    response.on('close', () => this.#streams.delete(stream))
    response.on('error', () => this.#streams.delete(stream))
    if (this.#closed) return void response.destroy()
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
    this.#streams.add(stream)
    this.#send(stream, { type: 'ping' })
    this.#changed(sessionId)
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    this.#unsubscribe()
    for (const { response } of this.#streams) response.end()
    this.#streams.clear()
  }

  #changed(sessionId: string | undefined): void {
    for (const stream of this.#streams) {
      if (sessionId === undefined || stream.sessionId === sessionId) this.#due.add(stream.sessionId)
    }
    void this.#read()
  }

  #ping(): void {
    for (const stream of this.#streams) this.#send(stream, { type: 'ping' })
    this.#changed(undefined)
  }

  async #read(): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    try {
      while (this.#due.size > 0 && !this.#closed) {
        const ids = [...this.#due]
        this.#due.clear()
        const states = new Map((await findControlStates(this.#deps.pool, ids)).map((state) => [state.id, state]))
        for (const stream of this.#streams) {
          if (ids.includes(stream.sessionId)) this.#tell(stream, states.get(stream.sessionId))
        }
      }
    } catch (err) {
      // The next ping reads them all again.
      if (!isStoreUnavailable(err)) this.#deps.logger.error({ err }, 'reading control states failed')
    } finally {
      this.#reading = false
    }
  }

  #tell(stream: Stream, state: ControlState | undefined): void {
    if (state === undefined || isFinal(state.status)) return void stream.response.end()
    if (!state.stop || stream.stopSent) return
    stream.stopSent = true
    const { reason } = state
    this.#send(stream, { type: 'stop', ...(reason === 'server_stopped' && { reason }) })
  }

  #send({ response }: Stream, message: ControlMessage): void {
    if (response.writableEnded || response.destroyed) return
    if (response.writableLength > MAX_UNREAD_BYTES) return void response.destroy()
    response.write(`${JSON.stringify(message)}\n`)
  }
}
