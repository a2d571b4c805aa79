import { setTimeout as sleep } from 'node:timers/promises'
import { type Connection, type ConnectionState, createNodeConnection } from '@cliscale/client'
import type { Exit } from '@cliscale/contract/terminal'
import WebSocket from 'ws'

/**
 * A viewer that puts the output together from its bytes, over as many connections as it takes. It connects as the page
 * does, but again at once after each drop, and fails where the page would start over.
 */
export class CollectingViewer implements AsyncDisposable {
  readonly #base: string
  readonly sessionId: string
  #connection: Connection | undefined
  #socket: WebSocket | undefined
  readonly #chunks: Uint8Array[] = []
  /** Offset of the next byte that this viewer lacks. */
  have = 0
  connections = 0
  exit: Exit | undefined
  fault: Error | undefined
  /** Refused upgrades and lost connections since the start. */
  losses = 0
  /** Codes that connections were closed with. */
  readonly closes: number[] = []
  /** The longest time from the end of a connection to the first word of the session on the next, in milliseconds. */
  longestAwayMs = 0
  #awaySince: number | undefined

  constructor(base: string, sessionId: string) {
    this.#base = base
    this.sessionId = sessionId
  }

  /** Redeems a link's token and connects; goes on reconnecting until the exit has arrived. A refusal is a fault. */
  start(token: string): void {
    this.#connection = createNodeConnection({
      base: this.#base,
      sessionId: this.sessionId,
      token,
      openSocket: (...args) => this.#watch(new WebSocket(...args)),
      // Tests cut connections faster than one counts as stable.
      retryDelayMs: () => 50 + Math.random() * 150,
      onState: (state) => this.#onState(state),
      screen: {
        write: (bytes, parsed) => {
          this.#chunks.push(bytes)
          this.have += bytes.length
          parsed()
        },
        snapshot: () => (this.fault = new Error(`a snapshot came while the bytes from ${this.have} on were asked for`)),
        reset: () => (this.fault = new Error(`the output does not go on at ${this.have}`)),
      },
    })
    this.#connection.start()
  }

  /** Whether the session speaks to this viewer now. */
  get isAttached(): boolean {
    return this.#connection?.writable ?? false
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  /** Cuts the TCP connection without a goodbye. */
  cut(): void {
    this.#socket?.terminate()
  }

  send(text: string): void {
    this.#connection?.type(Buffer.from(text))
  }

  /** Resolves with the exit; rejects on a fault or when time runs out. */
  async finished(withinMs: number): Promise<Exit> {
    const deadline = Date.now() + withinMs
    while (Date.now() < deadline) {
      if (this.fault) throw this.fault
      if (this.exit) return this.exit
      await sleep(20)
    }
    throw new Error(`no exit after ${withinMs} ms; have ${this.have} bytes over ${this.connections} connections`)
  }

  #watch(socket: WebSocket): WebSocket {
    this.#socket = socket
    socket.on('open', () => this.connections++)
    socket.on('close', (code) => this.closes.push(code))
    return socket
  }

  #onState(state: ConnectionState): void {
    if (state.kind === 'ended') this.exit = state.exit
    if (state.kind === 'stopped') this.fault = new Error(`it connects no more: ${state.why}`)
    if (state.kind === 'reconnecting') {
      this.losses++
      if (this.connections > 0) this.#awaySince ??= Date.now()
    }
    if (state.kind !== 'live' || this.#awaySince === undefined) return
    this.longestAwayMs = Math.max(this.longestAwayMs, Date.now() - this.#awaySince)
    this.#awaySince = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection?.close()
    const socket = this.#socket
    if (socket === undefined || socket.readyState === WebSocket.CLOSED) return
    // One that is still connecting says so by an error, too.
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.terminate()
    await closed
  }
}
