import { randomUUID } from 'node:crypto'
import { encodeJson, INPUT_WINDOW_BYTES, ServerType } from '@cliscale/contract'
import type { WebSocket } from 'ws'
import type { TypedPiece } from '../../relay/frames.ts'
import type { Typing } from '../typing.ts'
import { InputBudget } from './input-budget.ts'

export interface ViewerInputDeps {
  readonly socket: WebSocket
  readonly viewer: string
  readonly typing: Typing
  readonly bytesPerSecond: number
  readonly clock: () => number
}

/**
 * What one viewer's connection types. It is not read on while it sends faster than its budget, and while more than a
 * window of its input waits for the program: nothing is dropped, it waits where it comes from.
 */
export class ViewerInput {
  readonly #deps: ViewerInputDeps
  readonly #budget: InputBudget
  /** The stream that ClientHello named. */
  #named: string | undefined
  /** What comes without offsets is a stream that ends with the connection. */
  readonly #plain = `plain/${randomUUID()}`
  #plainAt = 0
  #throttle: NodeJS.Timeout | undefined
  #isFull = false
  #isStopped = false
  #isOver = false

  constructor(deps: ViewerInputDeps) {
    this.#deps = deps
    this.#budget = new InputBudget(deps.bytesPerSecond, deps.clock)
  }

  /** Whether the viewer is not read now: it cannot be heard either. */
  get isPaused(): boolean {
    return this.#throttle !== undefined || this.#isFull
  }

  /** Something came; its bytes count. */
  heard(bytes: number): void {
    const waitMs = this.#budget.take(bytes)
    if (waitMs === 0 || this.#isOver) return
    clearTimeout(this.#throttle)
    this.#throttle = setTimeout(() => {
      this.#throttle = undefined
      this.#steer()
    }, waitMs)
    this.#steer()
  }

  /** The name is the viewer's own: another viewer's stream is another one. */
  nameStream(name: unknown): boolean {
    if (typeof name !== 'string' || !/^[\dA-Za-z-]{1,64}$/.test(name)) return false
    this.#named = `${this.#deps.viewer}/${name}`
    return true
  }

  type(bytes: Buffer): void {
    this.#push({ stream: this.#plain, at: this.#plainAt, bytes, ahead: false })
    this.#plainAt += bytes.length
  }

  typeAt(at: number, bytes: Buffer, ahead: boolean): void {
    if (this.#named !== undefined && bytes.length > 0) this.#push({ stream: this.#named, at, bytes, ahead })
  }

  /** Tells the viewer how far the stream that it named came. */
  tell(): void {
    if (this.#named === undefined || this.#isOver) return
    const progress = this.#deps.typing.takeProgress(this.#named)
    if (progress !== undefined) this.#deps.socket.send(encodeJson(ServerType.progress, progress))
  }

  /** A stream made progress; a viewer that is not `live` hears of it with its HELLO. */
  onProgress(stream: string, live: boolean): void {
    if (stream === this.#named && live) this.tell()
    if (stream === this.#named || stream === this.#plain || this.#isFull) this.#steer()
  }

  /** Nothing more is taken; the socket is read to its end. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#throttle)
    this.#throttle = undefined
    this.#isFull = false
    this.#deps.socket.resume()
  }

  #push(piece: TypedPiece): void {
    if (this.#isOver) return
    this.#deps.typing.push(piece)
    this.#steer()
  }

  #steer(): void {
    if (this.#isOver) return
    const { typing, socket } = this.#deps
    const open = [this.#named, this.#plain].some((stream) => {
      const progress = stream === undefined ? undefined : typing.progress(stream)
      return progress !== undefined && progress.received - progress.taken > INPUT_WINDOW_BYTES
    })
    this.#isFull = open || typing.isFull
    if (this.isPaused === this.#isStopped) return
    this.#isStopped = this.isPaused
    if (this.#isStopped) socket.pause()
    else socket.resume()
  }
}
