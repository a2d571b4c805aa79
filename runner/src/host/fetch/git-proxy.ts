/**
 * An HTTP proxy on loopback for one git process. git resolves names and follows redirects by itself, so its addresses
 * are checked here, where they are dialled. TLS stays between git and the server. It counts all bytes.
 */
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { checkFetchTarget, isUnsafeHost } from '@cliscale/contract/code-url'
import { isAppError } from '@cliscale/contract/errors'
import { isSessionFailure, SessionFailure } from '../failure.ts'
import { checkedLookup } from './dial.ts'
import type { DownloadOptions } from './download.ts'
import { explainNetworkError } from './http-errors.ts'
import { formatBytes } from './limits.ts'

export interface GitProxy extends AsyncDisposable {
  /** With a password of its own, so that no other process of this machine can use the proxy. */
  readonly url: string
  /** The first thing that went wrong here; it says more than git's own message. */
  readonly failure: SessionFailure | undefined
}

export async function startGitProxy(options: DownloadOptions): Promise<GitProxy> {
  const password = randomBytes(16).toString('hex')
  const expected = `Basic ${Buffer.from(`git:${password}`).toString('base64')}`
  const sockets = new Set<Duplex>()
  const state: { failure: SessionFailure | undefined } = { failure: undefined }
  const fail = (error: unknown, url: URL): void => {
    const known = isAppError(error)
      ? new SessionFailure('code_host_refused', error.detail)
      : explainNetworkError(error, url, options.signal)
    if (isSessionFailure(known)) state.failure ??= known
  }
  const count = (chunk: Buffer): void => {
    options.received.bytes += chunk.length
    if (options.received.bytes <= options.limits.downloadBytes) return
    const limit = formatBytes(options.limits.downloadBytes)
    state.failure ??= new SessionFailure(
      'code_too_large',
      `The repository is larger than ${limit}. Use an archive of a part of it.`,
    )
    for (const socket of sockets) socket.destroy()
  }
  const track = <T extends Duplex>(socket: T): T => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    return socket
  }
  const server = http.createServer((request, response) => {
    if (request.headers['proxy-authorization'] === expected) forward(request, response, options, count, fail)
    else response.writeHead(407, { 'proxy-authenticate': 'Basic' }).end()
  })
  server.on('connection', track)
  server.on('connect', (request: http.IncomingMessage, client: Duplex) => {
    client.on('error', () => client.destroy())
    if (request.headers['proxy-authorization'] !== expected) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n')
      return
    }
    tunnel(request.url ?? '', client, options, { count, fail, track })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://git:${password}@127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    get failure() {
      return state.failure
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface TunnelHooks {
  readonly count: (chunk: Buffer) => void
  readonly fail: (error: unknown, url: URL) => void
  readonly track: <T extends Duplex>(socket: T) => T
}

/** CONNECT: an end-to-end TLS connection to a checked address. */
function tunnel(authority: string, client: Duplex, options: DownloadOptions, hooks: TunnelHooks): void {
  const refuse = (error: unknown, url: URL): void => {
    hooks.fail(error, url)
    client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')
  }
  let url: URL
  try {
    url = new URL(`https://${authority}`)
    checkFetchTarget(url, options.policy)
  } catch (error) {
    refuse(error, new URL('https://invalid'))
    return
  }
  const socket = hooks.track(
    net.connect({
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? 443 : Number(url.port),
      lookup: checkedLookup(url, options.policy, options.resolve),
    }),
  )
  let connected = false
  socket.setTimeout(options.limits.connectMs, () => {
    socket.destroy(Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' }))
  })
  socket.once('connect', () => {
    connected = true
    socket.setTimeout(0)
    client.write('HTTP/1.1 200 Connection established\r\n\r\n')
    socket.on('data', hooks.count)
    socket.pipe(client)
    client.pipe(socket)
  })
  socket.on('error', (error) => {
    if (connected) hooks.fail(error, url)
    else refuse(error, url)
  })
  socket.once('close', () => client.end())
  client.once('close', () => socket.destroy())
}

/** A request in absolute form: plain http, which only hosts that the operator listed may speak. */
function forward(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  options: DownloadOptions,
  count: (chunk: Buffer) => void,
  fail: (error: unknown, url: URL) => void,
): void {
  const refuse = (error: unknown, url: URL): void => {
    fail(error, url)
    if (response.headersSent) response.destroy()
    else response.writeHead(403).end()
  }
  let url: URL
  try {
    url = new URL(request.url ?? '')
    checkFetchTarget(url, options.policy)
    if (url.protocol !== 'http:' || !isUnsafeHost(url, options.policy)) throw new TypeError('not a proxy request')
  } catch (error) {
    refuse(error, new URL('https://invalid'))
    return
  }
  const { 'proxy-authorization': _password, 'proxy-connection': _hop, ...headers } = request.headers
  const upstream = http.request(url, {
    method: request.method ?? 'GET',
    headers: { ...headers, connection: 'close' },
    agent: false,
    lookup: checkedLookup(url, options.policy, options.resolve),
  })
  upstream.on('error', (error) => refuse(error, url))
  upstream.on('response', (answer) => {
    answer.on('error', (error) => refuse(error, url))
    answer.on('data', count)
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(response)
  })
  response.once('close', () => upstream.destroy())
  request.pipe(upstream)
}
