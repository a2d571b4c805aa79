import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { CreateSessionResponse, FieldError, Problem, SessionList } from '@cliscale/contract'
import { createHttpServer, createLogger, createPool } from '@cliscale/service-kit'
import type { TestDatabase } from '@cliscale/test-kit'
import type pg from 'pg'
import { createController, type Controller } from '../src/controller.ts'
import type { ControllerSettings } from '../src/config.ts'
import { readApiKeys } from '../src/identity/api-keys.ts'
import type { Launcher } from '../src/launch/launcher.ts'
import { createSigner, generateSigningKey } from '../src/tokens/signer.ts'
import { createMigratedDatabase } from './database.ts'

export const [KEY_A, KEY_B] = ['cs_key_owner-a-0123456789', 'cs_key_owner-b-0123456789']
const PEM = await generateSigningKey()

/** Launches nothing: what these tests look at ends at the database. */
const NOWHERE: Launcher = {
  launch: () => Promise.resolve(),
  list: () => Promise.resolve([]),
  refresh: () => Promise.resolve(),
  identify: () => Promise.resolve(undefined),
  remove: () => Promise.resolve(),
  expectEnd: () => {},
  onChange: () => () => {},
  close: () => Promise.resolve(),
}

export interface Api extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly pool: pg.Pool
  readonly controller: Controller
  /** Everything that was logged, as JSON lines. */
  readonly log: string[]
  /** A call as owner A; `body` is sent as JSON, a string as it is. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  create(body?: object, headers?: Record<string, string>): Promise<Answer>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body as JSON: of whatever was answered, so a test reads only what its status promises. */
  readonly json: AnswerBody
}

export type AnswerBody = Omit<CreateSessionResponse, 'status'> &
  Omit<Problem, 'status' | 'errors'> & {
    readonly status: string | number
    readonly errors: readonly FieldError[]
  } & SessionList

export interface ApiOptions {
  readonly settings?: Partial<ControllerSettings>
  readonly database?: Pick<TestDatabase, 'url'>
  readonly poolSize?: number
  readonly statementTimeoutMs?: number
  readonly connectTimeoutMs?: number
}

/** The public API on a port of this machine, over a database of its own. The reconciler is not started. */
export async function startApi(options: ApiOptions = {}): Promise<Api> {
  const own = options.database ? undefined : await createMigratedDatabase()
  const databaseUrl = (options.database ?? own!).url
  const log: string[] = []
  const logger = createLogger({
    service: 'test',
    level: 'debug',
    destination: { write: (line) => void log.push(line) },
  })
  const pool = createPool({
    connectionString: databaseUrl,
    max: options.poolSize ?? 5,
    applicationName: 'test-api',
    logger,
    statementTimeoutMs: options.statementTimeoutMs ?? 7_000,
    ...(options.connectTimeoutMs && { connectTimeoutMs: options.connectTimeoutMs }),
  })
  const settings: ControllerSettings = {
    publicUrl: undefined,
    trustedProxyHops: 0,
    sessionsPerMinute: 100_000,
    maxActiveSessions: 100_000,
    fetchPolicy: { codeHosts: [], unsafeHosts: [], localFolders: false },
    requireChecksum: false,
    retentionHours: 1,
    sessionLogMaxBytes: 1024 * 1024,
    queueLimitSeconds: 600,
    apiKeys: readApiKeys(`${KEY_A},${KEY_B}`, (message) => {
      throw new Error(message)
    }),
    dataKey: randomBytes(32),
    images: {},
    ...options.settings,
  }
  const signer = await createSigner([PEM])
  const controller = createController({ pool, databaseUrl, settings, signer, launcher: NOWHERE, logger })
  const server = createHttpServer(controller.app)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  const call: Api['call'] = async (method, path, body, headers = {}) => {
    const response = await fetch(url + path, {
      method,
      headers: {
        Authorization: `Bearer ${KEY_A}`,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      redirect: 'manual',
    })
    const text = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: (isJson ? JSON.parse(text) : {}) as AnswerBody,
    }
  }
  return {
    url,
    port,
    pool,
    controller,
    log,
    call,
    create: (body = { command: 'true' }, headers) => call('POST', '/api/sessions', body, headers),
    [Symbol.asyncDispose]: async () => {
      await closeServer(server)
      await controller.drain()
      await pool.end()
      await own?.[Symbol.asyncDispose]()
    },
  }
}

async function closeServer(server: Server): Promise<void> {
  server.close()
  server.closeAllConnections()
  await once(server, 'close')
}
