/** A gateway on a real database, as its own role, with pods made of real sockets. */
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { ATTACH_ASSERTION, SESSION_TOKEN, TOKEN_ISSUER } from '@cliscale/contract'
import { createLogger, createPool } from '@cliscale/service-kit'
import type { TestDatabase } from '@cliscale/test-kit'
import { calculateJwkThumbprint, createLocalJWKSet, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import type { Pool } from 'pg'
import WebSocket, { type ServerOptions, WebSocketServer } from 'ws'
import { createGateway, type Gateway, type GatewayDeps } from '../src/gateway.ts'
import { createGatewayServer } from '../src/server.ts'

export const PAGE = '<!doctype html><title>Terminal</title>\n'
export const LANDING = '<!doctype html><title>Landing</title>\n'
export const SCRIPT = 'export {}\n'

export { createMigratedDatabase as createDatabase } from '../../controller/test/database.ts'

/** The URL of a database for the gateway's role. */
export function asGateway(url: string): string {
  return `${url}${url.includes('?') ? '&' : '?'}options=-c%20role%3Dcliscale_gateway`
}

export interface Keys {
  readonly kid: string
  readonly privateKey: Parameters<SignJWT['sign']>[0]
  readonly jwks: { keys: Record<string, unknown>[] }
}

export async function createKeys(): Promise<Keys> {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
  const jwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(jwk)
  return { kid, privateKey, jwks: { keys: [{ ...jwk, kid, alg: 'RS256', use: 'sig' }] } }
}

export interface SessionSeed {
  readonly id?: string
  readonly status?: string
  readonly stage?: string
  readonly kind?: 'runner' | 'ttyd'
  readonly podUid?: string | null
  readonly port?: number
  readonly address?: string
  readonly exitCode?: number
  readonly reason?: string
}

export class Rig implements AsyncDisposable {
  readonly database: TestDatabase
  readonly keys: Keys
  readonly pool: Pool
  readonly gateway: Gateway
  readonly server: http.Server
  readonly logs: string[]
  readonly publicDir: string
  readonly #clients = new Set<WebSocket>()

  private constructor(parts: {
    database: TestDatabase
    keys: Keys
    pool: Pool
    gateway: Gateway
    server: http.Server
    logs: string[]
    publicDir: string
  }) {
    this.database = parts.database
    this.keys = parts.keys
    this.pool = parts.pool
    this.gateway = parts.gateway
    this.server = parts.server
    this.logs = parts.logs
    this.publicDir = parts.publicDir
  }

  static async start(
    database: TestDatabase,
    keys: Keys,
    options: Partial<GatewayDeps> & { poolMax?: number } = {},
  ): Promise<Rig> {
    const logs: string[] = []
    const logger = createLogger({
      service: 'test',
      level: 'debug',
      destination: { write: (line: string) => void logs.push(line) },
    })
    const pool = createPool({
      connectionString: asGateway(database.url),
      max: options.poolMax ?? 5,
      applicationName: 'cliscale-gateway',
      logger,
      connectTimeoutMs: 2_000,
    })
    const publicDir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-page-'))
    await mkdir(path.join(publicDir, 'assets'))
    for (const [name, text] of [
      ['terminal.html', PAGE],
      ['landing.html', LANDING],
      ['assets/terminal-4f9a8c2b.js', SCRIPT],
    ] as const) {
      const file = path.join(publicDir, name)
      await writeFile(file, text)
      await writeFile(`${file}.br`, brotliCompressSync(text))
      await writeFile(`${file}.gz`, gzipSync(text))
    }
    await writeFile(path.join(publicDir, 'assets', 'favicon.svg'), '<svg/>\n')
    const gateway = createGateway({
      pool,
      keys: createLocalJWKSet(keys.jwks as never),
      logger,
      publicDir,
      trustedProxyHops: 0,
      podNetworks: ['127.0.0.0/8'],
      viewerTtlSeconds: 3600,
      maxPendingUpgrades: 1000,
      maxPendingUpgradesPerAddress: 1000,
      ...options,
    })
    const server = createGatewayServer({ gateway, isReady: async () => void (await pool.query('select 1')) })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Rig({ database, keys, pool, gateway, server, logs, publicDir })
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }
  get host(): string {
    return `127.0.0.1:${this.port}`
  }
  get origin(): string {
    return `http://${this.host}`
  }

  async seed(seed: SessionSeed = {}): Promise<string> {
    const id = seed.id ?? randomUUID()
    const podUid = seed.podUid === undefined ? 'pod-1' : seed.podUid
    await this.database.query(
      `insert into sessions (id, owner, kind, status, stage, timeout_seconds, pod_uid, exit_code, reason, started_at,
         ended_at, stages)
       values ($1, 'o', $2, $3, $4, 60, $5, $6, $7, '2026-01-01T00:00:00Z',
         case when $3 in ('queued', 'scheduling', 'starting', 'running') then null
         else '2026-01-01T00:00:02.5Z'::timestamptz end, '[]')`,
      [
        id,
        seed.kind ?? 'runner',
        seed.status ?? 'running',
        seed.stage ?? null,
        podUid,
        seed.exitCode ?? null,
        seed.reason ?? null,
      ],
    )
    if (seed.port !== undefined) await this.endpoint(id, seed.port, { ...seed, podUid: podUid ?? 'pod-1' })
    return id
  }

  /** Writes where a session listens; one that nobody has claimed is claimed for it. */
  async endpoint(id: string, port: number, options: { podUid?: string; address?: string } = {}): Promise<void> {
    await this.database.query('update sessions set pod_uid = coalesce(pod_uid, $2) where id = $1', [
      id,
      options.podUid ?? 'pod-1',
    ])
    await this.database.query(
      `insert into session_endpoints (session_id, pod_ip, port, pod_uid) values ($1, $2, $3, $4)
       on conflict (session_id) do update set pod_ip = excluded.pod_ip, port = excluded.port, pod_uid = excluded.pod_uid`,
      [id, options.address ?? '127.0.0.1', port, options.podUid ?? 'pod-1'],
    )
  }

  /** Signs whatever it is given, with our key unless told otherwise. */
  async sign(
    claims: JWTPayload,
    header: Record<string, unknown> = {},
    key: Keys['privateKey'] = this.keys.privateKey,
  ): Promise<string> {
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', typ: SESSION_TOKEN.type, kid: this.keys.kid, ...header })
      .sign(key)
  }

  claims(sid: string, more: JWTPayload = {}): JWTPayload {
    const iat = Math.floor(Date.now() / 1000)
    const { audience: aud, ttlSeconds } = SESSION_TOKEN
    return { iss: TOKEN_ISSUER, aud, sub: 'o', sid, jti: randomUUID(), mode: 'rw', iat, exp: iat + ttlSeconds, ...more }
  }

  /** A token as the controller mints it, with its row. */
  async token(sid: string, options: { mode?: 'rw' | 'ro'; expiresInSeconds?: number } = {}): Promise<string> {
    const mode = options.mode ?? 'rw'
    const claims = this.claims(sid, { mode })
    const viewer = randomUUID()
    const assertion = await new SignJWT({ iss: TOKEN_ISSUER, aud: ATTACH_ASSERTION.audience, sid, mode, viewer })
      .setProtectedHeader({ alg: 'RS256', typ: ATTACH_ASSERTION.type, kid: this.keys.kid })
      .sign(this.keys.privateKey)
    await this.database.query(
      `insert into token_jti (jti, session_id, mode, viewer_id, assertion, expires_at)
       values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))`,
      [claims.jti, sid, mode, viewer, assertion, options.expiresInSeconds ?? 300],
    )
    return this.sign(claims)
  }

  async redeem(sid: string, token: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.origin}/ws/${sid}/redeem`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ token }),
    })
  }

  /** Redeems a fresh token and returns the cookie as a client sends it. */
  async cookie(sid: string, mode: 'rw' | 'ro' = 'rw'): Promise<{ cookie: string; viewer: string }> {
    const response = await this.redeem(sid, await this.token(sid, { mode }))
    const body = (await response.json()) as { viewer: string }
    return { cookie: String(response.headers.get('set-cookie')).split(';', 1)[0] ?? '', viewer: body.viewer }
  }

  open(
    sid: string,
    options: { query?: string; protocols?: string[]; headers?: Record<string, string> } = {},
  ): WebSocket {
    const url = `ws://${this.host}/ws/${sid}${options.query ?? ''}`
    const client = new WebSocket(url, options.protocols ?? ['cliscale.v1'], { headers: options.headers ?? {} })
    this.#clients.add(client)
    return client
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.terminate()
    await this.gateway.close()
    this.server.closeAllConnections()
    this.server.close()
    await this.pool.end()
    await rm(this.publicDir, { recursive: true, force: true })
  }
}

/** Everything a client of `ws` gets, in order, and a way to wait for it. */
export class Inbox {
  readonly messages: Buffer[] = []
  readonly socket: WebSocket
  closed: { code: number; reason: string } | undefined

  constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', (data) => void this.messages.push(data as Buffer))
    socket.on('close', (code, reason) => (this.closed = { code, reason: reason.toString() }))
    socket.on('error', () => undefined)
  }

  /** Messages of a type byte, as text without it. */
  of(type: string): string[] {
    return this.messages.filter((m) => m[0] === type.charCodeAt(0)).map((m) => m.subarray(1).toString())
  }
}

/** Waits until `check` returns something true, or fails after `ms`. */
export async function until<T>(check: () => T | Promise<T>, ms = 5_000): Promise<NonNullable<T>> {
  const end = Date.now() + ms
  for (;;) {
    const value = await check()
    if (value) return value
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${String(check)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export interface Pod extends AsyncDisposable {
  readonly port: number
  readonly requests: http.IncomingMessage[]
  readonly sockets: Set<Socket>
}

/** A pod that speaks WebSocket through `ws`: it sends back what it gets. */
export async function echoPod(
  onConnection: (socket: WebSocket) => void = (socket) =>
    socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary })),
  options: ServerOptions = {},
): Promise<Pod> {
  const server = http.createServer()
  const sockets = new Set<Socket>()
  const requests: http.IncomingMessage[] = []
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  const wss = new WebSocketServer({ ...options, server, handleProtocols: (offered) => [...offered][0] ?? false })
  wss.on('connection', (socket, req) => {
    requests.push(req)
    socket.on('error', () => undefined)
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    sockets,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      wss.close()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A pod that is a bare TCP listener. Half-open, it must end its side itself. */
export async function rawPod(
  onConnection: (socket: Socket) => void,
  options: { allowHalfOpen: boolean } = { allowHalfOpen: false },
): Promise<Pod> {
  const sockets = new Set<Socket>()
  const server = net.createServer(options, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    requests: [],
    sockets,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Answers the upgrade request in `head` as a pod does. */
export function podAnswer(head: string, protocol = 'cliscale.v1'): string {
  const key = /sec-websocket-key: (.+)\r\n/i.exec(head)?.[1] ?? ''
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`
}

export interface RawAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** The head of an upgrade request, with lines replaced or added. */
export function upgradeHead(options: {
  path: string
  host: string
  method?: string
  headers?: Record<string, string | string[] | undefined>
}): string {
  const headers: Record<string, string | string[] | undefined> = {
    Host: options.host,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Protocol': 'cliscale.v1',
    ...options.headers,
  }
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((v) => `${name}: ${v}\r\n`),
  )
  return `${options.method ?? 'GET'} ${options.path} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/** Sends bytes and returns what came back until the other side closed. */
export async function rawRequest(port: number, bytes: string): Promise<RawAnswer> {
  const socket = net.connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => (text += chunk))
  socket.on('error', () => undefined)
  socket.write(bytes)
  await once(socket, 'close')
  const end = text.indexOf('\r\n\r\n')
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0)
  return { status, head: text.slice(0, end), body: text.slice(end + 4) }
}
