import net, { type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeOutput, encodeFrame, encodeTyped, FrameDecoder, FrameType, type TypedPiece } from '../relay/frames.ts'
import { decodeWorkMessage, encodeMessage, type HostMessage, type WorkMessage } from '../relay/messages.ts'

export type WorkEvent = WorkMessage | { readonly type: 'output'; readonly offset: number; readonly bytes: Buffer }
export type Welcome = WorkMessage & { type: 'welcome' }

/**
 * Why work could not be reached: there is no socket, nobody listens on it any more, it does not know us, it does not
 * answer, or not as it should.
 */
export type Unreachable = 'absent' | 'dead' | 'refused' | 'silent' | 'broken'
export class WorkUnreachable extends Error {
  readonly kind: Unreachable
  constructor(kind: Unreachable, detail: string, options?: { cause: unknown }) {
    super(detail, options)
    this.name = 'WorkUnreachable'
    this.kind = kind
  }

  /**
   * How long this may last, in milliseconds, before it means that work has ended, given whether it was ever reached;
   * undefined when it says nothing of that.
   */
  goneAfterMs(seen: boolean): number | undefined {
    if (this.kind !== 'absent' && this.kind !== 'dead') return undefined
    if (seen) return 1000
    // Work that is starting has its socket for a moment before it listens.
    return this.kind === 'dead' ? 5000 : undefined
  }
}

const WELCOME_LIMIT_MS = 5000
/** Beyond so much that work has not read, answers to a program's queries are dropped; work reads always. */
const MAX_UNREAD_BYTES = 1024 * 1024

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
    let why: Unreachable = 'absent'
    socket.on('connect', () => (why = 'silent'))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') why = 'dead' // the reader below sees the rest
    })
    const iterator = readEvents(socket)
    socket.write(encodeMessage({ type: 'hello', secret: options.secret, from: options.from }))
    try {
      const message = await firstEvent(iterator)
      if (message?.type === 'welcome') return new WorkLink(socket, message, iterator)
      socket.destroy()
      if (message?.type === 'refused') throw new WorkUnreachable('refused', message.why)
      throw new WorkUnreachable(why, 'work did not answer')
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

  answer(bytes: Uint8Array): void {
    if (this.socket.destroyed || this.socket.writableLength > MAX_UNREAD_BYTES) return
    this.socket.write(encodeFrame(FrameType.input, bytes))
  }

  /** What waits here is bounded by the windows of those who type. */
  typed(piece: TypedPiece): void {
    if (!this.socket.destroyed) this.socket.write(encodeTyped(piece))
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
    throw new WorkUnreachable('broken', 'work did not answer as expected', { cause })
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

const PROBE_LIMIT_MS = 1000

/** Whether a process listens on work's socket. Without a clear answer it counts as alive. */
export function isListening(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(socketPath)
    const answer = (alive: boolean): void => {
      clearTimeout(limit)
      socket.destroy()
      resolve(alive)
    }
    const limit = setTimeout(answer, PROBE_LIMIT_MS, true)
    socket.once('connect', () => answer(true))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      answer(error.code !== 'ENOENT' && error.code !== 'ECONNREFUSED'),
    )
  })
}

/** How long a work that is not up yet is waited for, only to tell it that nothing is to be done. */
const DISMISS_LIMIT_MS = 30_000

/** How long a work that was told to end may take; a host that ends before it would be started again in a pod. */
const GOING_LIMIT_MS = 5000

/** Tells work to end, and resolves when nobody listens any more, or after 5 s. Rejects only when `signal` aborts. */
export async function quit(link: WorkLink, socketPath: string, signal: AbortSignal): Promise<void> {
  link.send({ type: 'quit' })
  await link.end()
  const until = Date.now() + GOING_LIMIT_MS
  while (Date.now() < until && (await isListening(socketPath))) await sleep(20, undefined, { signal })
}

/**
 * Tells work to end, if it listens to us. One that was never seen may be about to start: it is waited for, for a while.
 * Rejects only when `signal` aborts.
 */
export async function dismiss(work: {
  readonly socketPath: string
  readonly secret: string
  readonly from: number
  /** Whether it was ever reached. */
  readonly seen: boolean
  readonly signal: AbortSignal
}): Promise<void> {
  const startedAt = Date.now()
  for (; ; await sleep(200, undefined, { signal: work.signal })) {
    try {
      return await quit(await WorkLink.connect(work), work.socketPath, work.signal)
    } catch (error) {
      work.signal.throwIfAborted()
      if (!(error instanceof WorkUnreachable) || work.seen) return
      if (error.kind !== 'absent' && error.kind !== 'dead') return
      if (Date.now() - startedAt > (error.goneAfterMs(false) ?? DISMISS_LIMIT_MS)) return
    }
  }
}
