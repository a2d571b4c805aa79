import { randomUUID } from 'node:crypto'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError, isAppError, MAX_TOKEN_CHARS, type Problem, toProblem } from '@cliscale/contract'

/** Longer than the 600 s after which Google's load balancer gives up an idle connection, so that it closes first. */
const KEEP_ALIVE_MS = 620_000
/** How long a request may take to arrive, head and body. What was upgraded or is being answered is not limited. */
const REQUEST_MS = 60_000
const HEAD_MS = 15_000
const MAX_HEAD_BYTES = 16 * 1024
/** How long a refused client may take to read its answer and leave. */
const LINGER_MS = 2_000

/**
 * An HTTP server with limits of time and size, that answers what its parser refuses with a problem document. The
 * caller listens, adds `upgrade`, and closes.
 *
 * With `answersHalfClosed`, a client that closes its side behind its request (`nc -N`, `shutdown(SHUT_WR)`) still gets
 * its answer. A client that has gone then looks the same until something is written to it, so this is not for answers
 * that stay open.
 */
export function createHttpServer(listener: RequestListener, options: { answersHalfClosed?: boolean } = {}): Server {
  const onRequest: RequestListener = (req, res) => {
    lingerForBody(req)
    const fault = headFault(req)
    if (fault === undefined) return listener(req, res)
    answerProblem(req, res, fault)
  }
  const server = createServer(
    {
      maxHeaderSize: MAX_HEAD_BYTES,
      headersTimeout: HEAD_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 5_000,
      // Checked below instead, with a body that says what is wrong.
      requireHostHeader: false,
    },
    onRequest,
  )
  // Not in Node's documentation or types, but in each of its versions: without it, the server closes its side too.
  Object.assign(server, { httpAllowHalfOpen: options.answersHalfClosed === true })
  // An Expect of something else than 100-continue may be passed over (RFC 9110 section 10.1.1).
  server.on('checkExpectation', onRequest)
  server.on('clientError', answerClientError)
  // Nobody listening, Node closes the connection without a word.
  server.on('connect', (_req, socket: Socket) => {
    socket.on('error', () => {})
    const detail = 'CONNECT is not allowed: this server is not a proxy.'
    answerSocket(socket, new AppError('method_not_allowed', { detail, headers: { Allow: '' } }), randomUUID())
  })
  return server
}

/**
 * Takes no new connections, and waits for requests that are under way, for up to `limitMs`; then it cuts them off. Node's
 * own `close` waits for a connection that was never used, or that becomes idle after it, as long as the client likes.
 */
export async function closeServer(server: Server, limitMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  const idle = setInterval(() => server.closeIdleConnections(), 50)
  const limit = setTimeout(() => server.closeAllConnections(), limitMs)
  await closed
  clearInterval(idle)
  clearTimeout(limit)
}

/** Answers a request with a problem document and ends its connection. */
export function answerProblem(req: IncomingMessage, res: ServerResponse, fault: AppError): void {
  const { body, headers, problem } = problemParts(fault, requestIdOf(req))
  req.resume()
  res.writeHead(problem.status, headers).end(body)
}

/** The caller's request id where it is short and plain, else a fresh one. */
export function requestIdOf(req: IncomingMessage): string {
  const given = req.headers['x-request-id']
  return typeof given === 'string' && /^[A-Za-z0-9_.-]{1,64}$/.test(given) ? given : randomUUID()
}

/** Headers of which a second one would be dropped silently by Node, and might be read by a proxy instead of the first. */
const SINGLE_HEADERS = ['authorization', 'content-type', 'host', 'idempotency-key', 'origin']

/** Which of the headers that may come once came more often. */
export function findDuplicateHeader(req: IncomingMessage): string | undefined {
  const seen = new Set<string>()
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i]!.toLowerCase()
    if (!SINGLE_HEADERS.includes(name)) continue
    if (seen.has(name)) return name
    seen.add(name)
  }
  return undefined
}

function headFault(req: IncomingMessage): AppError | undefined {
  const duplicate = findDuplicateHeader(req)
  if (duplicate !== undefined)
    return new AppError('duplicate_header', {
      detail: `The header ${duplicate} was sent more than once; send it once.`,
    })
  if (req.headers.host === undefined && req.httpVersion !== '1.0')
    return new AppError('bad_request', { detail: 'The header Host is missing; HTTP/1.1 requires it.' })
  return undefined
}

/** Errors of Node's parser: https://nodejs.org/api/errors.html, and llhttp's HPE_ codes. */
function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  // In the middle of an answer there is nothing that can still be said.
  const answering = (socket as Socket & { _httpMessage?: { headersSent: boolean } })._httpMessage?.headersSent === true
  if (error.code === 'ECONNRESET' || !socket.writable || answering) return void socket.destroy()
  answerSocket(socket, clientFault(error.code ?? ''), randomUUID())
}

/**
 * Answers on a bare socket (an upgrade that is refused, say) with a problem document, and closes it. What the client
 * still sends is read and dropped: unread bytes would make the kernel reset the connection, and the answer be lost.
 */
export function answerSocket(socket: Duplex, error: unknown, requestId: string): Problem {
  const { body, headers, problem } = problemParts(error, requestId)
  if (socket.destroyed) return problem
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join('')}\r\n${body}`)
  socket.resume()
  linger(socket)
  return problem
}

/** The bearer credential of a request (RFC 6750); undefined when it has none, or none that we would read. */
export function bearerOf(req: IncomingMessage): string | undefined {
  const credential = /^bearer ([\x21-\x7e]+)$/i.exec(req.headers.authorization ?? '')?.[1]
  return credential !== undefined && credential.length <= MAX_TOKEN_CHARS ? credential : undefined
}

/**
 * Node closes a connection with its last answer (`destroySoon`), also when the body has not all arrived. What arrives
 * then is answered by a reset, and a client that sends all before it reads never sees why it was refused.
 */
function lingerForBody(req: IncomingMessage): void {
  const { socket } = req
  socket.destroySoon = () => {
    if (req.complete) return Socket.prototype.destroySoon.call(socket)
    socket.end()
    linger(socket)
  }
}

function linger(socket: Duplex): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(timer))
}

function clientFault(code: string): AppError {
  if (code === 'HPE_HEADER_OVERFLOW')
    return new AppError('headers_too_large', {
      detail: `The request line and headers together may be at most ${MAX_HEAD_BYTES} bytes.`,
    })
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new AppError('request_timeout', {
      detail: `The headers must arrive within ${HEAD_MS / 1000} s and the whole request within ${REQUEST_MS / 1000} s.`,
    })
  return new AppError('bad_request', { detail: `The request is not valid HTTP/1.1 (${code || 'unreadable'}).` })
}

/** A problem document as the last answer of its connection. */
function problemParts(
  error: unknown,
  requestId: string,
): { problem: Problem; body: string; headers: Record<string, string> } {
  const problem = toProblem(error, requestId)
  const body = JSON.stringify(problem)
  const headers = {
    'Content-Type': 'application/problem+json',
    'Content-Length': String(Buffer.byteLength(body)),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'X-Request-Id': requestId,
    ...(isAppError(error) ? error.headers : {}),
    Connection: 'close',
  }
  return { problem, body, headers }
}
