import http, { type IncomingMessage } from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'

/** A load balancer in front of the Ingress. */
export interface Front extends AsyncDisposable {
  readonly base: string
  /** Connections that it cut because they were too old. */
  readonly cuts: number
}

/**
 * Passes requests and WebSockets on to `target`. With `hostname` they are for that name, whatever the client wrote.
 * With `cutAfterMs` every connection is destroyed at that age, whatever goes over it, as some load balancers do.
 */
export async function openFront(target: string, options: { hostname?: string; cutAfterMs?: number }): Promise<Front> {
  const to = new URL(target)
  const port = Number(to.port || 80)
  const sockets = new Set<Socket>()
  let cuts = 0
  const headersFor = (req: IncomingMessage): IncomingMessage['headers'] => {
    if (options.hostname === undefined) return req.headers
    const origin = req.headers.origin === undefined ? {} : { origin: `http://${options.hostname}` }
    return { ...req.headers, host: options.hostname, ...origin }
  }
  const server = http.createServer((req, res) => {
    const onward = http.request({
      host: to.hostname,
      port,
      method: req.method,
      path: req.url,
      headers: headersFor(req),
    })
    onward.on('response', (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    })
    onward.on('error', () => res.destroy())
    res.on('close', () => onward.destroy())
    req.pipe(onward)
  })
  server.on('upgrade', (req, client: Socket, head) => {
    const lines = Object.entries(headersFor(req)).map(([name, value]) => `${name}: ${String(value)}`)
    const onward = net.connect(port, to.hostname)
    onward.write(`${req.method} ${req.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
    onward.write(head)
    join(client, onward)
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    const timer = options.cutAfterMs && setTimeout(() => (cuts++, socket.destroy()), options.cutAfterMs)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      if (timer) clearTimeout(timer)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get cuts() {
      return cuts
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function join(a: Socket, b: Socket): void {
  for (const [from, onto] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on('error', () => {})
    from.on('close', () => onto.destroy())
    from.pipe(onto)
  }
}
