import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'

/** A request that passed or was refused. */
export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly isWatch: boolean
  readonly at: number
}
type Match = (request: SeenRequest) => boolean

/** Stands in front of a real API server, by plain http, and plays the faults of the network between. */
export interface ApiServerProxy extends AsyncDisposable {
  readonly port: number
  readonly seen: SeenRequest[]
  /** Ends all watches without notice. */
  cutWatches(): void
  /** While true, what the server sends on a watch is lost, and the connection stays open. */
  silent: boolean
  /** Answers these itself, until it is undefined. */
  refuse: ((request: SeenRequest) => { status: number; headers?: http.OutgoingHttpHeaders } | undefined) | undefined
  /** Lets the next of these through, and loses its answer. */
  loseAnswerOf(match: Match): void
  /** Writes this into all watches. */
  inject(text: string): void
}

/** Starts one on loopback. */
export async function createApiServerProxy(server: { url: URL; ca: string }): Promise<ApiServerProxy> {
  const watches = new Set<http.ServerResponse>()
  const sockets = new Set<Socket>()
  const agent = new https.Agent({ ca: server.ca, keepAlive: true })
  let losing: Match | undefined
  const front = http.createServer((request, response) => {
    const url = new URL(request.url ?? '/', server.url)
    const isWatch = url.searchParams.get('watch') === 'true'
    const seen = { method: request.method ?? '', path: url.pathname, isWatch, at: performance.now() }
    proxy.seen.push(seen)
    const refusal = proxy.refuse?.(seen)
    if (refusal !== undefined) {
      request.resume()
      response.writeHead(refusal.status, refusal.headers).end('{"kind":"Status","message":"refused by a test"}')
      return
    }
    const isLost = losing?.(seen) === true
    if (isLost) losing = undefined
    const { host: _host, ...headers } = request.headers
    const onwards = https.request(url, {
      method: request.method,
      headers,
      agent: isWatch ? false : agent,
      ca: server.ca,
    })
    onwards.on('error', () => response.destroy())
    response.on('close', () => (watches.delete(response), onwards.destroy()))
    onwards.on('response', (answer) => {
      if (isLost) return void answer.resume().on('end', () => response.destroy())
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      response.flushHeaders()
      if (isWatch) watches.add(response)
      answer.on('data', (chunk: Buffer) => {
        if (!(isWatch && proxy.silent)) response.write(chunk)
      })
      answer.on('end', () => response.end())
      answer.on('error', () => response.destroy())
    })
    request.pipe(onwards)
  })
  front.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  front.listen(0, '127.0.0.1')
  await once(front, 'listening')
  const proxy: ApiServerProxy = {
    port: (front.address() as AddressInfo).port,
    seen: [],
    silent: false,
    refuse: undefined,
    cutWatches: () => {
      for (const watch of watches) watch.destroy()
    },
    loseAnswerOf: (match) => {
      losing = match
    },
    inject: (text) => {
      for (const watch of watches) watch.write(text)
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      agent.destroy()
      front.close()
      await once(front, 'close')
    },
  }
  return proxy
}
