import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ACK_EVERY_BYTES,
  ClientType,
  type Exit,
  type Hello,
  V1_PROTOCOL,
  decodeServerMessage,
  encodeBytes,
  encodeClientHello,
  encodeJson,
} from '@cliscale/contract/terminal'
import WebSocket from 'ws'

/**
 * A viewer that puts the output together from its bytes, over as many connections as it takes, each with the cookie
 * that the first link was redeemed for. It fails on a gap and on bytes that differ from what it already has.
 */
export class CollectingViewer implements AsyncDisposable {
  readonly #base: string
  readonly sessionId: string
  #cookie = ''
  #viewer = ''
  #socket: WebSocket | undefined
  #epoch: string | undefined
  #chunks: Buffer[] = []
  #acked = 0
  #stopped = false
  /** Offset of the next byte that this viewer lacks. */
  have = 0
  connections = 0
  snapshots = 0
  exit: Exit | undefined
  fault: Error | undefined
  /** Refused upgrades and lost connections since the start. */
  losses = 0
  /** Codes that connections were closed with. */
  readonly closes: number[] = []
  /** The longest time from the end of a connection to the first word of the session on the next, in milliseconds. */
  longestAwayMs = 0
  #awaySince: number | undefined
  #attached = false

  constructor(base: string, sessionId: string) {
    this.#base = base
    this.sessionId = sessionId
  }

  /** Redeems a link's token and connects; goes on reconnecting until the exit has arrived. */
  async start(token: string): Promise<void> {
    const response = await fetch(`${this.#base}/ws/${this.sessionId}/redeem`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: this.#base },
      body: JSON.stringify({ token }),
    })
    if (!response.ok) throw new Error(`redeem: ${response.status} ${await response.text()}`)
    this.#cookie = (response.headers.get('set-cookie') ?? '').split(';')[0] ?? ''
    this.#viewer = ((await response.json()) as { viewer: string }).viewer
    void this.#run()
  }

  /** Whether the session speaks to this viewer now. */
  get isAttached(): boolean {
    return this.#attached
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  /** Cuts the TCP connection without a goodbye. */
  cut(): void {
    this.#socket?.terminate()
  }

  send(text: string): void {
    this.#socket?.send(encodeBytes(ClientType.input, Buffer.from(text)))
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

  async #run(): Promise<void> {
    while (!this.#stopped && !this.exit && !this.fault) {
      try {
        await this.#connectOnce()
      } catch {
        // The next turn of the loop tries again; `finished` bounds how often.
      }
      this.losses++
      await sleep(50 + Math.random() * 150)
    }
  }

  async #connectOnce(): Promise<void> {
    const url = `${this.#base.replace('http', 'ws')}/ws/${this.sessionId}?viewer=${this.#viewer}`
    const socket = new WebSocket(url, [V1_PROTOCOL], {
      perMessageDeflate: false,
      headers: { cookie: this.#cookie, origin: this.#base },
      handshakeTimeout: 5000,
    })
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('message', (data: Buffer) => this.#receive(data))
    const closed = once(socket, 'close').then(([code]) => {
      if (this.#attached) this.#awaySince = Date.now()
      this.#attached = false
      this.closes.push(code as number)
    })
    await Promise.race([once(socket, 'open'), closed])
    if (socket.readyState === WebSocket.OPEN) {
      this.connections++
      const resume = this.#epoch === undefined ? {} : { epoch: this.#epoch, have: this.have }
      socket.send(encodeClientHello({ columns: 120, rows: 40, ...resume }))
    }
    await closed
  }

  #position = 0
  #receive(data: Buffer): void {
    const message = decodeServerMessage(data)
    if (message.type === 'hello') this.#hello(message.hello)
    else if (message.type === 'data') this.#take(Buffer.from(message.bytes))
    else if (message.type === 'snapshot') {
      this.snapshots++
      this.fault = new Error(`a snapshot came at ${message.seq} while ${this.have} was asked for`)
    } else if (message.type === 'exit') this.exit = message.exit
  }

  #hello(hello: Hello): void {
    this.#attached = true
    if (this.#awaySince !== undefined) this.longestAwayMs = Math.max(this.longestAwayMs, Date.now() - this.#awaySince)
    this.#awaySince = undefined
    if (this.#epoch !== undefined && hello.epoch !== this.#epoch) this.fault = new Error('the epoch changed')
    this.#epoch = hello.epoch
    this.#position = hello.seq
    this.#acked = hello.seq
  }

  #take(bytes: Buffer): void {
    const start = this.#position
    this.#position += bytes.length
    if (start > this.have) this.fault = new Error(`gap: ${this.have} to ${start}`)
    const fresh = bytes.subarray(Math.max(0, this.have - start))
    if (fresh.length > 0) {
      this.#chunks.push(fresh)
      this.have += fresh.length
    }
    if (this.#position - this.#acked >= ACK_EVERY_BYTES) {
      this.#acked = this.#position
      this.#socket?.send(encodeJson(ClientType.ack, { seq: this.#position }))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    const socket = this.#socket
    if (socket && socket.readyState !== WebSocket.CLOSED) {
      // One that is still connecting says so by an error, too.
      const closed = new Promise((resolve) => socket.once('close', resolve))
      socket.terminate()
      await closed
    }
  }
}
