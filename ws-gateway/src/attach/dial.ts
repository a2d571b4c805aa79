/** Opens the WebSocket of a session's pod, with a request of our own. */
import { randomBytes } from 'node:crypto'
import net, { type Socket } from 'node:net'
import type { DialFault } from '../metrics.ts'
import type { Endpoint } from '../store.ts'
import { acceptFor } from '../websocket-key.ts'
import type { Protocol } from './speaker.ts'

export type Dialled =
  | { readonly kind: 'open'; readonly socket: Socket; readonly rest: Buffer }
  /** The pod does not take our assertion. */
  | { readonly kind: 'unauthorized' }
  /** Nobody there, no answer in time, or not an answer that opens a WebSocket: may be tried again. */
  | { readonly kind: 'failed'; readonly fault: DialFault; readonly why: string }

export interface DialOptions {
  readonly endpoint: Endpoint
  readonly protocol: Protocol
  /** Shown to a session host; undefined for images that bring their own ttyd. */
  readonly assertion: string | undefined
  /** For the connection and the answer together, in milliseconds. */
  readonly deadlineMs: number
  readonly signal: AbortSignal
}

const MAX_HEAD_BYTES = 16 * 1024
const HEAD_END = '\r\n\r\n'

/** Never rejects. An open socket is paused and belongs to the caller; bytes behind the answer are in `rest`. */
export function dialPod(options: DialOptions): Promise<Dialled> {
  const { promise, resolve } = withResolvers<Dialled>()
  const { address: host, port } = options.endpoint
  const key = randomBytes(16).toString('base64')
  const socket = net.connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
  let head: Buffer = Buffer.alloc(0)
  const settle = (dialled: Dialled): void => {
    clearTimeout(timer)
    options.signal.removeEventListener('abort', onAbort)
    socket.off('data', onData).off('end', onEnd).off('close', onEnd)
    if (dialled.kind !== 'open') socket.destroy()
    resolve(dialled)
  }
  const fail = (fault: DialFault, why: string): void => settle({ kind: 'failed', fault, why })
  const onAbort = (): void => fail('unreachable', 'the client left')
  const onEnd = (): void => fail('unreachable', 'closed before its answer')
  const onData = (chunk: Buffer): void => {
    head = head.length === 0 ? chunk : Buffer.concat([head, chunk])
    const end = head.indexOf(HEAD_END)
    if (end === -1) return head.length > MAX_HEAD_BYTES ? fail('bad_answer', 'an answer without end') : undefined
    socket.pause()
    const why = refusalOf(parseHead(head.toString('latin1', 0, end)), key, options.protocol)
    if (why === '401') return settle({ kind: 'unauthorized' })
    if (why !== undefined) return fail(/^\d/.test(why) ? 'refused' : 'bad_answer', why)
    settle({ kind: 'open', socket, rest: head.subarray(end + HEAD_END.length) })
  }
  const timer = setTimeout(() => fail('timeout', 'no answer in time'), options.deadlineMs)
  // Stays for the socket's whole life: a splice that begins later finds the socket destroyed.
  socket.on('error', (error: NodeJS.ErrnoException) => fail('unreachable', error.code ?? 'a network fault'))
  socket.on('data', onData).on('end', onEnd).on('close', onEnd)
  options.signal.addEventListener('abort', onAbort, { once: true })
  socket.write(requestHead(options, key))
  if (options.signal.aborted) onAbort()
  return promise
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((r) => (resolve = r))
  return { promise, resolve }
}

/** Nothing of the client's request goes in here: no cookie, no extension, no header of its own. */
function requestHead(options: DialOptions, key: string): string {
  const { address, port } = options.endpoint
  const lines = [
    'GET /ws HTTP/1.1',
    `Host: ${net.isIPv6(address) ? `[${address}]` : address}:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    `Sec-WebSocket-Key: ${key}`,
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Protocol: ${options.protocol}`,
  ]
  if (options.assertion !== undefined) lines.push(`Authorization: Bearer ${options.assertion}`)
  return `${lines.join('\r\n')}${HEAD_END}`
}

interface ResponseHead {
  readonly status: string | undefined
  readonly headers: ReadonlyMap<string, string>
}

function parseHead(text: string): ResponseHead {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).trim().toLowerCase()
    // A header that comes twice fits nothing we expect.
    headers.set(name, headers.has(name) ? '\0' : line.slice(colon + 1).trim())
  }
  return { status: /^HTTP\/1\.1 (\d{3})(?: |$)/.exec(statusLine)?.[1], headers }
}

/** Why an answer does not open the WebSocket we asked for; undefined when it does. */
function refusalOf(head: ResponseHead, key: string, protocol: Protocol): string | undefined {
  if (head.status !== '101') return head.status ?? 'not HTTP/1.1'
  const get = (name: string): string => head.headers.get(name) ?? ''
  if (get('upgrade').toLowerCase() !== 'websocket') return 'another upgrade'
  if (!/(^|[\s,])upgrade($|[\s,])/i.test(get('connection'))) return 'no Connection: Upgrade'
  if (get('sec-websocket-accept') !== acceptFor(key)) return 'a wrong Sec-WebSocket-Accept'
  if (get('sec-websocket-protocol') !== protocol) return 'another subprotocol'
  if (get('sec-websocket-extensions') !== '') return 'an extension nobody asked for'
  return undefined
}
