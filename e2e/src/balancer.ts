import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/** How often a backend is asked whether it is ready, in milliseconds. */
const PROBE_MS = 250

/**
 * A TCP load balancer as a cluster has one: new connections go in turn to backends whose `/readyz` answered last time,
 * open ones stay where they are. It may cut each connection after a time, without a goodbye, whatever is under way.
 */
export class Balancer implements AsyncDisposable {
  readonly #backends: readonly string[]
  readonly #cutAfterMs: number | undefined
  readonly #server: net.Server
  readonly #sockets = new Set<Socket>()
  readonly #ready = new Set<string>()
  #probes: NodeJS.Timeout | undefined
  #next = 0
  /** Connections that were cut. */
  cuts = 0

  private constructor(backends: readonly string[], cutAfterMs: number | undefined) {
    this.#backends = backends
    this.#cutAfterMs = cutAfterMs
    this.#server = net.createServer((client) => this.#connect(client))
  }

  /** @param backends base addresses such as `http://127.0.0.1:7081`. */
  static async start(backends: readonly string[], options: { cutAfterMs?: number } = {}): Promise<Balancer> {
    const balancer = new Balancer(backends, options.cutAfterMs)
    balancer.#server.listen(0, '127.0.0.1')
    await once(balancer.#server, 'listening')
    await balancer.#probe()
    balancer.#probes = setInterval(() => void balancer.#probe(), PROBE_MS)
    return balancer
  }

  get base(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#probes)
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #probe(): Promise<void> {
    for (const backend of this.#backends) {
      const answer = fetch(`${backend}/readyz`, { signal: AbortSignal.timeout(1_000) })
      const isReady = await answer.then(
        (response) => response.ok,
        () => false,
      )
      if (isReady) this.#ready.add(backend)
      else this.#ready.delete(backend)
    }
  }

  #connect(client: Socket): void {
    const ready = this.#backends.filter((backend) => this.#ready.has(backend))
    const backend = ready[this.#next++ % ready.length]
    if (backend === undefined) return void client.on('error', () => {}).destroy()
    const { hostname, port } = new URL(backend)
    const server = net.connect({ host: hostname, port: Number(port) })
    const timer =
      this.#cutAfterMs === undefined ? undefined : setTimeout(() => this.#cut(client, server), this.#cutAfterMs)
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        clearTimeout(timer)
        this.#sockets.delete(from)
        to.destroySoon()
      })
      from.pipe(to)
    }
  }

  #cut(client: Socket, server: Socket): void {
    this.cuts++
    client.resetAndDestroy()
    server.resetAndDestroy()
  }
}
