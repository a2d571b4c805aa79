import { randomBytes, randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ClaimResponse, WorkOrder } from '@cliscale/contract'
import { createLogger, createPool } from '@cliscale/service-kit'
import type { TestDatabase, TestPostgres } from '@cliscale/test-kit'
import pg from 'pg'
import { migrate } from '../src/db/migrate.ts'
import { createInternalApp, type InternalApp, type InternalAppDeps } from '../src/host-api/app.ts'
import { createSessionSignals, type SessionSignals } from '../src/sessions/signals.ts'
import type { Launcher } from '../src/launch/launcher.ts'
import { openOrder, sealOrder } from '../src/sessions/order-box.ts'
import { createMigratedDatabase } from './database.ts'
import { createLocalSystem, type LocalSystem } from './launch-local-system.ts'

export const logger = createLogger({ service: 'test', level: 'silent' })
export const ORDER: WorkOrder = {
  command: 'echo "hello"',
  codeUrl: null,
  checksumSha256: null,
  prompt: 'say "hello" 🙂',
  installCmd: null,
  env: { TOKEN: 'canary' },
}

/** The columns of `sessions` that tests look at; further ones by name. */
export interface TestRow extends Record<string, unknown> {
  readonly status: string
  readonly pod_uid: string | null
  readonly stages: { name: string; startedAt: string; endedAt: string | null }[]
  readonly started_at: Date
  readonly ended_at: Date
  readonly expires_at: Date
}

/** A database of its own with the schema, and a pool. */
export interface Store extends AsyncDisposable {
  readonly database: TestDatabase
  readonly pool: pg.Pool
  readonly dataKey: Buffer
  /** A session as POST /api/sessions writes it. */
  createSession(columns?: Readonly<Record<string, unknown>>): Promise<string>
  session(id: string): Promise<TestRow>
  count(table: string, id: string): Promise<number>
}

/** On the run's PostgreSQL, or on one of its own that the test may break. */
export async function createStore(own?: TestPostgres): Promise<Store> {
  const database = own ? await databaseOf(own) : await createMigratedDatabase()
  const pool = createPool({ connectionString: database.url, max: 8, applicationName: 'test', logger })
  const dataKey = randomBytes(32)
  return {
    database,
    pool,
    dataKey,
    createSession: async (columns = {}) => {
      const id = (columns['id'] as string | undefined) ?? randomUUID()
      const queued = [{ name: 'queued', startedAt: new Date().toISOString(), endedAt: null }]
      const all = { id, owner: 'o', timeout_seconds: 60, stage: 'queued', stages: JSON.stringify(queued), ...columns }
      const names = Object.keys(all)
      await pool.query(
        `insert into sessions (${names.join(', ')}) values (${names.map((_, i) => `$${i + 1}`).join(', ')})`,
        Object.values(all),
      )
      const sealed = sealOrder(dataKey, id, ORDER)
      await pool.query('insert into session_orders (session_id, ciphertext) values ($1, $2)', [id, sealed])
      return id
    },
    session: async (id) =>
      (await pool.query<TestRow>('select * from sessions where id = $1', [id])).rows[0] ?? ({} as TestRow),
    count: async (table, id) => (await pool.query(`select from ${table} where session_id = $1`, [id])).rowCount ?? 0,
    [Symbol.asyncDispose]: async () => {
      await pool.end()
      await database[Symbol.asyncDispose]()
    },
  }
}

async function databaseOf({ url }: TestPostgres): Promise<TestDatabase> {
  await migrate(url)
  return {
    url,
    query: async (sql, values) => {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      try {
        return await client.query(sql, values)
      } finally {
        await client.end()
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** The internal API on a port of this machine. */
export interface InternalServer extends AsyncDisposable {
  readonly url: string
  readonly server: Server
  readonly app: InternalApp
  readonly signals: SessionSignals
}

export async function createInternalServer(
  store: Store,
  launcher: Launcher,
  extra: Partial<InternalAppDeps> = {},
): Promise<InternalServer> {
  const signals = createSessionSignals({ databaseUrl: store.database.url, logger })
  await signals.listening()
  const app = createInternalApp({
    pool: store.pool,
    launcher,
    signals,
    logger,
    openOrder: (sessionId, ciphertext) => openOrder(store.dataKey, sessionId, ciphertext),
    jwks: () => ({ keys: [] }),
    fetchPolicy: { codeHosts: [], unsafeHosts: [], localFolders: true },
    outputMaxBytes: 64 * 1024 * 1024,
    retentionSeconds: 3600,
    ...extra,
  })
  const server = createServer(app.handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    app,
    signals,
    [Symbol.asyncDispose]: async () => {
      app.close()
      await signals.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Everything that the internal API needs, with real processes. */
export interface InternalSystem extends AsyncDisposable {
  readonly store: Store
  readonly local: LocalSystem
  readonly internal: InternalServer
}

export async function createInternalSystem(extra: Partial<InternalAppDeps> = {}): Promise<InternalSystem> {
  const store = await createStore()
  const local = await createLocalSystem()
  const internal = await createInternalServer(store, local.launcher, extra)
  return {
    store,
    local,
    internal,
    [Symbol.asyncDispose]: async () => {
      await internal[Symbol.asyncDispose]()
      await local.dispose()
      await store[Symbol.asyncDispose]()
    },
  }
}

/** A call of the internal API. */
export function call(
  url: string,
  credential: string,
  init: { method?: string; json?: unknown; body?: Uint8Array; headers?: Record<string, string> } = {},
): Promise<Response> {
  const body = init.json === undefined ? (init.body as Uint8Array<ArrayBuffer> | undefined) : JSON.stringify(init.json)
  return fetch(url, {
    method: init.method ?? 'POST',
    headers: { authorization: `Bearer ${credential}`, ...init.headers },
    ...(body === undefined ? {} : { body }),
  })
}

export const NONCE = 'nonce-of-this-spool'

/** Creates, launches and claims a session. */
export async function claimed(system: InternalSystem): Promise<{ id: string; claim: ClaimResponse }> {
  const id = await system.store.createSession()
  await system.local.launcher.launch({ sessionId: id, timeoutSeconds: 60 })
  const response = await call(`${system.internal.url}/internal/claim`, await system.local.tokenOf(id), {
    json: { nonce: NONCE },
  })
  if (response.status !== 200) throw new Error(`claim: ${response.status} ${await response.text()}`)
  return { id, claim: (await response.json()) as ClaimResponse }
}
