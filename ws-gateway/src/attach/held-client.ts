import type { Socket } from 'node:net'

/**
 * A client's socket between its request and its splice. It is read from the first moment on, so that a client that
 * leaves is noticed: `end` destroys it (sockets of an http.Server are half-open and would stay for ever). What it sends
 * is kept up to a limit; then the socket is paused, and whoever writes to it finds out that it has gone.
 */
export class HeldClient {
  readonly socket: Socket
  readonly #limitBytes: number
  #chunks: Buffer[] = []
  #bytes = 0
  #reader: ((chunk: Buffer) => void) | undefined
  readonly #onData = (chunk: Buffer): void => {
    if (this.#reader) return this.#reader(chunk)
    this.#keep(chunk)
  }
  readonly #onEnd = (): void => {
    this.socket.destroy()
  }

  constructor(socket: Socket, head: Buffer, limitBytes: number) {
    // Node takes its own error handler away when it hands the socket out: without one a reset ends the process.
    socket.on('error', () => socket.destroy())
    this.socket = socket
    this.#limitBytes = limitBytes
    socket.setTimeout(0)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 30_000)
    if (head.length > 0) this.#keep(head)
    socket.on('end', this.#onEnd)
    if (this.#bytes < limitBytes) socket.on('data', this.#onData)
    // An 'end' that came before our handler will not come again.
    if (socket.readableEnded) socket.destroy()
  }

  get isGone(): boolean {
    return this.socket.destroyed
  }

  /** Calls `gone` when the socket has closed, also when it has already. */
  onGone(gone: () => void): void {
    if (this.socket.closed) queueMicrotask(gone)
    else this.socket.once('close', gone)
  }

  #keep(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes >= this.#limitBytes) this.socket.pause()
  }

  /** Gives what was kept to `reader`, and everything that follows. */
  readWith(reader: (chunk: Buffer) => void): void {
    this.#reader = reader
    const kept = this.#chunks
    this.#chunks = []
    for (const chunk of kept) reader(chunk)
    if (this.socket.listenerCount('data') === 0) this.socket.on('data', this.#onData)
    this.socket.resume()
  }

  /** Hands the socket over, paused, with what was kept. The error handler stays. */
  release(): readonly Buffer[] {
    this.socket.pause()
    this.socket.off('data', this.#onData)
    this.socket.off('end', this.#onEnd)
    const kept = this.#chunks
    this.#chunks = []
    return kept
  }
}
