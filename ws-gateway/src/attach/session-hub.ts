import { SESSION_CHANNEL } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import type { Pool, PoolClient } from 'pg'
import type { SessionState, Store } from '../store.ts'

type Watcher = (state: SessionState | undefined) => void

/**
 * Tells sockets that wait what becomes of their sessions, with one LISTEN connection and one batched query every 2 s
 * for all of them, and neither while nobody waits. The LISTEN only makes it faster: what it misses the next query
 * finds, and while the database is away nothing is told at all.
 */
export class SessionHub implements AsyncDisposable {
  readonly #deps: { pool: Pool; store: Store; logger: Logger; pollMs: number }
  readonly #watchers = new Map<string, Set<Watcher>>()
  readonly #asked = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false
  #listener: PoolClient | undefined
  #isConnecting = false
  #isClosed = false

  constructor(deps: { pool: Pool; store: Store; logger: Logger; pollMs: number }) {
    this.#deps = deps
  }

  /** How many sessions are watched. */
  get size(): number {
    return this.#watchers.size
  }

  /**
   * Calls `watcher` with the session's state soon, and again at each change and at each poll; with undefined once the
   * session's row is gone. Returns how to stop.
   */
  watch(sessionId: string, watcher: Watcher): () => void {
    const own = this.#watchers.get(sessionId) ?? new Set()
    this.#watchers.set(sessionId, own.add(watcher))
    this.#ask(sessionId)
    this.#timer ??= setInterval(() => this.#poll(), this.#deps.pollMs)
    void this.#listen()
    return () => {
      own.delete(watcher)
      if (own.size > 0 || this.#watchers.get(sessionId) !== own) return
      this.#watchers.delete(sessionId)
      if (this.#watchers.size === 0) this.#rest()
    }
  }

  #poll(): void {
    void this.#listen()
    for (const id of this.#watchers.keys()) this.#asked.add(id)
    void this.#answer()
  }

  #ask(sessionId: string): void {
    if (!this.#watchers.has(sessionId)) return
    this.#asked.add(sessionId)
    // Many sockets that begin to wait in one turn of the event loop share one query.
    setImmediate(() => void this.#answer())
  }

  async #answer(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    try {
      while (this.#asked.size > 0 && !this.#isClosed) {
        const ids = [...this.#asked].filter((id) => this.#watchers.has(id))
        this.#asked.clear()
        if (ids.length === 0) continue
        const states = await this.#deps.store.findSessions(ids)
        for (const id of ids) for (const tell of this.#watchers.get(id) ?? []) tell(states.get(id))
      }
    } catch (err) {
      this.#deps.logger.warn({ code: (err as { code?: string }).code }, 'the awaited sessions cannot be read')
    } finally {
      this.#isAsking = false
    }
  }

  async #listen(): Promise<void> {
    if (this.#listener || this.#isConnecting || this.#isClosed) return
    this.#isConnecting = true
    try {
      const client = await this.#deps.pool.connect()
      client.on('error', () => this.#lose(client))
      client.on('end', () => this.#lose(client))
      client.on('notification', ({ payload }) => this.#ask(payload ?? ''))
      this.#listener = client
      await client.query(`listen ${SESSION_CHANNEL}`)
      if (this.#isClosed || this.#watchers.size === 0) this.#lose(client)
      // What changed before the LISTEN was heard by nobody.
      else for (const id of this.#watchers.keys()) this.#ask(id)
    } catch (err) {
      this.#deps.logger.warn({ code: (err as { code?: string }).code }, 'no connection to listen on; polling')
      if (this.#listener) this.#lose(this.#listener)
    } finally {
      this.#isConnecting = false
    }
  }

  /** Lets go of a LISTEN connection, which no other query may get. */
  #lose(client: PoolClient): void {
    if (this.#listener !== client) return
    this.#listener = undefined
    client.removeAllListeners('notification')
    client.release(true)
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#asked.clear()
    if (this.#listener && !this.#isConnecting) this.#lose(this.#listener)
  }

  /** Ends the polling and the LISTEN; call it before the pool is ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#watchers.clear()
    this.#rest()
    if (this.#listener) this.#lose(this.#listener)
  }
}
