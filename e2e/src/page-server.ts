import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import path from 'node:path'
import { WebSocketServer } from 'ws'
import { PageSession } from './page-session.ts'

/** What the page needs and no more; the gateway sends the same. */
export const PAGE_CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

const TYPES: Readonly<Record<string, string>> = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }

/** A server of the built page with sessions that a test scripts: links, cookies and the terminal's protocol. */
export class PageServer {
  readonly sessions = new Map<string, PageSession>()
  readonly requests: string[] = []
  /** While true, upgrades are refused by closing the socket, as a broken network does. */
  refuseUpgrades = false
  readonly #server: Server
  readonly #ws = new WebSocketServer({ noServer: true })
  readonly #sockets = new Set<Socket>()
  readonly #publicDir: string

  private constructor(publicDir: string) {
    this.#publicDir = publicDir
    this.#server = createServer((req, res) => void this.#serve(req, res).catch(() => res.destroy()))
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => this.#upgrade(req, socket, head))
  }

  static async start(publicDir: string): Promise<PageServer> {
    const server = new PageServer(publicDir)
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve))
    return server
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  createSession(): PageSession {
    const session = new PageSession()
    this.sessions.set(session.id, session)
    return session
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#ws.close()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** As a proxy that serves us under `/tools/cli` passes it on. */
  #url(req: IncomingMessage): URL {
    return new URL((req.url ?? '/').replace(/^\/tools\/cli(?=\/)/, ''), this.origin)
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = this.#url(req)
    this.requests.push(`${req.method} ${url.pathname}${url.search}`)
    const asset = /^\/ws\/assets\/([\w.-]+)$/.exec(url.pathname)?.[1]
    if (asset !== undefined) {
      const type = TYPES[asset.split('.').at(-1) ?? ''] ?? 'application/octet-stream'
      res.writeHead(200, { 'content-type': type, 'x-content-type-options': 'nosniff' })
      res.end(await readFile(path.join(this.#publicDir, 'assets', asset)))
      return
    }
    if (url.pathname === '/') {
      res.writeHead(200, { 'content-security-policy': PAGE_CSP, 'content-type': 'text/html; charset=utf-8' })
      res.end(await readFile(path.join(this.#publicDir, 'landing.html')))
      return
    }
    const [, id, action] = /^\/ws\/([^/]+)(?:\/(redeem|viewer))?$/.exec(url.pathname) ?? []
    if (action === undefined) {
      const headers = { 'content-security-policy': PAGE_CSP, 'referrer-policy': 'no-referrer' }
      res.writeHead(200, { ...headers, 'content-type': 'text/html; charset=utf-8' })
      res.end(await readFile(path.join(this.#publicDir, 'terminal.html')))
      return
    }
    const session = this.sessions.get(id ?? '')
    if (session === undefined) return problem(res, 404, 'session_not_found')
    if (action === 'redeem') return redeem(session, await readJson(req), res)
    const viewer = session.viewerOfCookie(req.headers.cookie, url.searchParams.get('viewer'))
    if (viewer === undefined) return problem(res, 401, 'unauthorized')
    answerViewer(session, viewer, res)
  }

  #upgrade(req: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const url = this.#url(req)
    const session = this.sessions.get(url.pathname.split('/')[2] ?? '')
    const viewer = session?.viewerOfCookie(req.headers.cookie, url.searchParams.get('viewer'))
    if (this.refuseUpgrades || session === undefined || viewer === undefined) {
      socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    this.#ws.handleUpgrade(req, socket, head, (ws) => session.attach(ws, socket, viewer))
  }
}

async function readJson(req: IncomingMessage): Promise<{ token?: string }> {
  let text = ''
  for await (const chunk of req) text += String(chunk)
  return JSON.parse(text) as { token?: string }
}

function redeem(session: PageSession, { token }: { token?: string }, res: ServerResponse): void {
  const mode = session.tokens.get(token ?? '')
  if (mode === undefined) return problem(res, 401, 'token_expired')
  if (mode === 'used') return problem(res, 410, 'link_used')
  session.tokens.set(token ?? '', 'used')
  const viewer = randomUUID()
  session.viewers.set(viewer, mode)
  res.setHeader('set-cookie', `cs_${viewer}=secret; HttpOnly; SameSite=Strict`)
  answerViewer(session, viewer, res)
}

function answerViewer(session: PageSession, viewer: string, res: ServerResponse): void {
  const body = { sessionId: session.id, viewer, mode: session.viewers.get(viewer), status: 'running' }
  res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function problem(res: ServerResponse, status: number, code: string): void {
  res.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ status, code }))
}
