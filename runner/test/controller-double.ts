import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { randomUUID } from 'node:crypto'
import {
  ATTACH_ASSERTION,
  type ClaimResponse,
  type ControlMessage,
  type SessionEvent,
  TOKEN_ISSUER,
  type WorkOrder,
} from '@cliscale/contract'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

/** What one session's controller remembers, and how it misbehaves. */
export interface ControllerDouble extends AsyncDisposable {
  readonly url: string
  readonly sessionId: string
  readonly events: SessionEvent[]
  readonly calls: string[]
  readonly output: Buffer
  started: boolean
  timeoutSeconds: number
  /** The status to answer a call with instead of its own, by what its path ends with. */
  refuse: Map<string, number>
  /** How many calls of a path are carried out while their answer is lost. */
  loseAnswers: Map<string, number>
  /** Runs before a call is answered; `call` is the last part of its path. Throwing cuts the connection before that. */
  onCall: (call: string, body: string) => void | Promise<void>
  control(message: ControlMessage): void
  setCodeUrl(url: string, unsafeHosts?: string[]): void
  /** Stops listening and cuts every connection. */
  down(): Promise<void>
  up(): Promise<void>
  ended(limitMs?: number): Promise<SessionEvent & { type: 'ended' }>
  event<T extends SessionEvent['type']>(type: T, limitMs?: number): Promise<SessionEvent & { type: T }>
  outputHas(text: string): Promise<void>
  /** Resolves when a call came in, whatever its answer. */
  called(name: string): Promise<void>
  assertion(mode: 'rw' | 'ro'): Promise<string>
  rotateKeys(): Promise<void>
}

/**
 * The internal API of a controller with one session in memory, for faults that a real one cannot be made to show on
 * demand. The real one runs in e2e/.
 */
export async function createControllerDouble(
  order: Partial<WorkOrder>,
  listen = { host: '127.0.0.1', port: 0 },
): Promise<ControllerDouble> {
  const it = new Double(listen, {
    command: 'true',
    codeUrl: null,
    checksumSha256: null,
    prompt: null,
    installCmd: '',
    env: {},
    ...order,
  })
  await it.rotateKeys()
  await it.up()
  return it
}

class Double implements ControllerDouble {
  readonly sessionId = randomUUID()
  readonly events: SessionEvent[] = []
  readonly calls: string[] = []
  readonly refuse = new Map<string, number>()
  readonly loseAnswers = new Map<string, number>()
  output: Buffer = Buffer.alloc(0)
  started = false
  timeoutSeconds = 60
  onCall: (call: string, body: string) => void | Promise<void> = () => {}
  private order: WorkOrder
  private unsafeHosts: string[] = []
  private server: Server | undefined
  private readonly host: string
  private port: number
  private nonce: string | undefined
  private credential = ''
  private readonly sockets = new Set<Socket>()
  private readonly streams = new Set<ServerResponse>()
  private readonly pending: ControlMessage[] = []
  private jwks: unknown[] = []
  private keys: { kid: string; pair: Awaited<ReturnType<typeof generateKeyPair>> }[] = []

  constructor(listen: { host: string; port: number }, order: WorkOrder) {
    this.host = listen.host
    this.port = listen.port
    this.order = order
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async rotateKeys(): Promise<void> {
    this.keys.push({ kid: randomUUID(), pair: await generateKeyPair('RS256') })
    this.jwks = await Promise.all(
      this.keys.map(async ({ kid, pair }) => ({ ...(await exportJWK(pair.publicKey)), kid, alg: 'RS256', use: 'sig' })),
    )
  }

  assertion(mode: 'rw' | 'ro'): Promise<string> {
    const { kid, pair } = this.keys.at(-1)!
    return new SignJWT({ sid: this.sessionId, mode, viewer: randomUUID() })
      .setProtectedHeader({ alg: 'RS256', kid, typ: ATTACH_ASSERTION.type })
      .setIssuer(TOKEN_ISSUER)
      .setAudience(ATTACH_ASSERTION.audience)
      .setIssuedAt()
      .sign(pair.privateKey)
  }

  setCodeUrl(codeUrl: string, unsafeHosts: string[] = []): void {
    this.order = { ...this.order, codeUrl }
    this.unsafeHosts = unsafeHosts
  }

  async up(): Promise<void> {
    this.server = createServer((request, response) => {
      this.answer(request, response).catch(() => request.socket.destroy())
    })
    this.server.on('connection', (socket) => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
    })
    this.server.listen(this.port, this.host)
    await once(this.server, 'listening')
    this.port = (this.server.address() as AddressInfo).port
  }

  async down(): Promise<void> {
    const server = this.server
    this.server = undefined
    if (server === undefined) return
    server.close()
    for (const socket of this.sockets) socket.destroy()
    await once(server, 'close')
  }

  control(message: ControlMessage): void {
    // Kept and repeated, as the real one does from its row.
    this.pending.push(message)
    for (const stream of this.streams) stream.write(`${JSON.stringify(message)}\n`)
  }

  ended(limitMs?: number): Promise<SessionEvent & { type: 'ended' }> {
    return this.event('ended', limitMs)
  }

  event<T extends SessionEvent['type']>(type: T, limitMs = 20_000): Promise<SessionEvent & { type: T }> {
    return until(`the event "${type}"`, limitMs, () => this.events.find((event) => event.type === type)) as Promise<
      SessionEvent & { type: T }
    >
  }

  async called(name: string): Promise<void> {
    await until(`the call "${name}"`, 20_000, () => this.calls.includes(name) || undefined)
  }

  async outputHas(text: string): Promise<void> {
    await until(`"${text}" in the output`, 20_000, () => this.output.includes(text) || undefined)
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readAll(request)
    const call = request.url!.split('/').at(-1)!
    this.calls.push(call)
    await this.onCall(call, body.toString())
    const refused = this.refuse.get(call)
    if (refused !== undefined) return void response.writeHead(refused).end()
    if (call === 'control') return this.openControl(request, response)
    const [status, json] = this.carryOut(call, request, body)
    const lose = this.loseAnswers.get(call) ?? 0
    if (lose > 0) {
      this.loseAnswers.set(call, lose - 1)
      return void request.socket.destroy()
    }
    response
      .writeHead(status, { 'content-type': 'application/json' })
      .end(json === undefined ? '' : JSON.stringify(json))
  }

  private carryOut(call: string, request: IncomingMessage, body: Buffer): [number, unknown?] {
    if (call === 'jwks.json') return [200, { keys: this.jwks }]
    if (call === 'claim') return this.claim(JSON.parse(body.toString()) as { nonce: string })
    if (request.headers.authorization !== `Bearer ${this.credential}`) return [401]
    if (call === 'started') {
      this.started = true
      return [204]
    }
    if (call === 'events') {
      this.events.push(JSON.parse(body.toString()) as SessionEvent)
      return [204]
    }
    if (call !== 'output') return [404]
    const offset = Number(request.headers['x-cliscale-offset'])
    const have = this.output.length
    if (offset <= have && offset + body.length > have)
      this.output = Buffer.concat([this.output, body.subarray(have - offset)])
    return [200, { next: this.output.length }]
  }

  private claim({ nonce }: { nonce: string }): [number, unknown?] {
    this.nonce ??= nonce
    if (nonce !== this.nonce) return [409]
    this.credential = randomUUID()
    const answer: ClaimResponse = {
      sessionId: this.sessionId,
      podUid: 'pod-1',
      reportCredential: this.credential,
      started: this.started,
      order: this.started ? null : this.order,
      timeoutSeconds: this.timeoutSeconds,
      fetchPolicy: { codeHosts: [], unsafeHosts: this.unsafeHosts, localFolders: true },
    }
    return [200, answer]
  }

  private openControl(request: IncomingMessage, response: ServerResponse): void {
    if (request.headers.authorization !== `Bearer ${this.credential}`) return void response.writeHead(401).end()
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write('{"type":"ping"}\n')
    for (const message of this.pending) response.write(`${JSON.stringify(message)}\n`)
    this.streams.add(response)
    response.on('close', () => this.streams.delete(response))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down()
  }
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

async function until<T>(what: string, limitMs: number, look: () => T | undefined): Promise<T> {
  for (const limit = Date.now() + limitMs; Date.now() < limit;) {
    const found = look()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`${what} did not come within ${limitMs} ms`)
}
