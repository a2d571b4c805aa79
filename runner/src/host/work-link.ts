import net, { type Socket } from 'node:net'
import { decodeOutput, encodeFrame, FrameDecoder, FrameType } from '../relay/frames.ts'
import { decodeWorkMessage, encodeMessage, type HostMessage, type WorkMessage } from '../relay/messages.ts'

export type WorkEvent = WorkMessage | { readonly type: 'output'; readonly offset: number; readonly bytes: Buffer }
export type Welcome = WorkMessage & { type: 'welcome' }

/** Why work could not be reached: nobody listens, it does not know us, it does not answer, or not as it should. */
export class WorkUnreachable extends Error {
  readonly kind: 'absent' | 'refused' | 'silent' | 'broken'
  constructor(kind: 'absent' | 'refused' | 'silent' | 'broken', detail: string, options?: { cause: unknown }) {
    super(detail, options)
    this.name = 'WorkUnreachable'
    this.kind = kind
  }
}

const WELCOME_LIMIT_MS = 5000
/** Input that work has not read; more is dropped, as a terminal does whose program does not read. */
const MAX_UNREAD_INPUT_BYTES = 1024 * 1024

/** One connection to work. What it says is read only as fast as `events` is consumed. */
export class WorkLink {
  readonly welcome: Welcome
  private readonly socket: Socket
  private readonly iterator: AsyncGenerator<WorkEvent>

  private constructor(socket: Socket, welcome: Welcome, iterator: AsyncGenerator<WorkEvent>) {
    this.socket = socket
    this.welcome = welcome
    this.iterator = iterator
  }

  /** Connects and says hello. Throws WorkUnreachable. */
  static async connect(options: {
    readonly socketPath: string
    readonly secret: string
    readonly from: number
    readonly welcomeLimitMs?: number
  }): Promise<WorkLink> {
    const socket = net.connect(options.socketPath)
    const limit = setTimeout(() => socket.destroy(), options.welcomeLimitMs ?? WELCOME_LIMIT_MS)
    let connected = false
    socket.on('connect', () => (connected = true))
    socket.on('error', () => {}) // the reader below sees it
    const iterator = readEvents(socket)
    socket.write(encodeMessage({ type: 'hello', secret: options.secret, from: options.from }))
    try {
      const message = await firstEvent(iterator)
      if (message?.type === 'welcome') return new WorkLink(socket, message, iterator)
      socket.destroy()
      if (message?.type === 'refused') throw new WorkUnreachable('refused', message.why)
      throw new WorkUnreachable(connected ? 'silent' : 'absent', 'work did not answer')
    } finally {
      clearTimeout(limit)
    }
  }

  /** What work says after its welcome, in order; ends when the connection does. Throws when it breaks the protocol. */
  events(): AsyncIterable<WorkEvent> {
    // Without `return`: leaving the loop at the exit must not destroy the socket, which still carries the quit.
    return { [Symbol.asyncIterator]: () => ({ next: () => this.iterator.next() }) }
  }

  get isOpen(): boolean {
    return !this.socket.destroyed
  }

  send(message: HostMessage): void {
    if (!this.socket.destroyed) this.socket.write(encodeMessage(message))
  }

  input(bytes: Uint8Array): void {
    if (this.socket.destroyed || this.socket.writableLength > MAX_UNREAD_INPUT_BYTES) return
    this.socket.write(encodeFrame(FrameType.input, bytes))
  }

  close(): void {
    this.socket.destroy()
  }

  /** Closes it after what was sent has left, within 1 s. */
  async end(): Promise<void> {
    if (this.socket.destroyed) return
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, 1000)
      this.socket.end(() => {
        clearTimeout(limit)
        resolve()
      })
    })
    this.socket.destroy()
  }
}

async function firstEvent(iterator: AsyncGenerator<WorkEvent>): Promise<WorkEvent | undefined> {
  try {
    const { done, value } = await iterator.next()
    return done === true ? undefined : value
  } catch (cause) {
    throw new WorkUnreachable('broken', 'work did not answer as it should', { cause })
  }
}

async function* readEvents(socket: Socket): AsyncGenerator<WorkEvent> {
  const decoder = new FrameDecoder()
  try {
    for await (const chunk of socket) {
      for (const frame of decoder.push(chunk as Buffer)) {
        if (frame.type === FrameType.output) yield { type: 'output', ...decodeOutput(frame.body) }
        else if (frame.type === FrameType.json) yield decodeWorkMessage(frame.body)
      }
    }
  } catch (error) {
    // A connection that breaks is an end like any other; a fault in what was said is not.
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
  }
}
