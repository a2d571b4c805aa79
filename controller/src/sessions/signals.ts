import { SESSION_CHANNEL, SESSION_ID_PATTERN } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import pg from 'pg'

/** Tells when a session's row changed, whichever process changed it. One database connection serves all listeners. */
export interface SessionSignals {
  /** Calls back with the session's id, or with undefined when changes may have been missed: then read again. */
  subscribe(listener: (sessionId: string | undefined) => void): () => void
  /** Resolves once it listens for the first time; a database that is away makes it wait. */
  listening(): Promise<void>
  close(): Promise<void>
}

const RETRY_MS = [50, 250, 1_000, 3_000]
/** A connection that a firewall dropped in silence is noticed by a query this often. */
const CHECK_MS = 15_000
const QUERY_TIMEOUT_MS = 5_000

/**
 * Listens on its own connection and connects again by itself, at first soon and then every 3 s. What was notified while
 * it was away is lost, so listeners are told to read again. Starts at once; the caller closes it.
 */
export function createSessionSignals(options: { databaseUrl: string; logger: Logger }): SessionSignals {
  return new PostgresSignals(options)
}

class PostgresSignals implements SessionSignals {
  readonly #databaseUrl: string
  readonly #logger: Logger
  readonly #listeners = new Set<(sessionId: string | undefined) => void>()
  readonly #first: { promise: Promise<void>; resolve: () => void }
  #client: pg.Client | undefined
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #closed = false

  constructor(options: { databaseUrl: string; logger: Logger }) {
    this.#databaseUrl = options.databaseUrl
    this.#logger = options.logger
    let resolve!: () => void
    this.#first = { promise: new Promise<void>((done) => (resolve = done)), resolve }
    void this.#connect()
  }

  subscribe(listener: (sessionId: string | undefined) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  listening(): Promise<void> {
    return this.#first.promise
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#listeners.clear()
    this.#first.resolve()
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => undefined)
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#databaseUrl,
      application_name: 'cliscale-signals',
      connectionTimeoutMillis: QUERY_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      keepAlive: true,
    })
    this.#client = client
    client.on('error', () => this.#lost(client))
    client.on('end', () => this.#lost(client))
    client.on('notification', ({ payload }) => {
      if (payload !== undefined && SESSION_ID_PATTERN.test(payload)) this.#emit(payload)
    })
    try {
      await client.connect()
      await client.query(`listen ${SESSION_CHANNEL}`)
    } catch {
      return this.#lost(client)
    }
    if (this.#client !== client) return
    if (this.#failures > 0) this.#logger.info({ failures: this.#failures }, 'listening for session changes again')
    this.#failures = 0
    this.#first.resolve()
    this.#emit(undefined)
    this.#checkLater(client)
  }

  #checkLater(client: pg.Client): void {
    if (this.#closed || this.#client !== client) return
    this.#timer = setTimeout(() => {
      client.query('select 1').then(
        () => this.#checkLater(client),
        () => this.#lost(client),
      )
    }, CHECK_MS)
  }

  #lost(client: pg.Client): void {
    if (this.#closed || this.#client !== client) return
    this.#client = undefined
    clearTimeout(this.#timer)
    void client.end().catch(() => undefined)
    if (this.#failures === 0) this.#logger.warn('the connection that listens for session changes is lost')
    this.#timer = setTimeout(() => void this.#connect(), RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)])
    this.#failures++
  }

  #emit(sessionId: string | undefined): void {
    for (const listener of this.#listeners) listener(sessionId)
  }
}
