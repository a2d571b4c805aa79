import type { WebSocket } from 'ws'
import { type AttachClaims, CLOSE, type StatusMessage, type TerminalColours } from '@cliscale/contract'
import type { ViewerEvent } from '../terminal-types.ts'
import { Viewer, type ViewerDeps } from './viewer.ts'

const TICK_MS = 1_000

export interface ViewersOptions extends ViewerDeps {
  readonly onLeft: (viewer: Viewer, event: ViewerEvent) => void
}

/** The connected viewers. Owns one timer while there is one; dispose it. */
export class Viewers implements Disposable {
  readonly #options: ViewersOptions
  readonly #viewers = new Set<Viewer>()
  readonly #revoked = new Set<string>()
  #status: StatusMessage | undefined
  #ticker: NodeJS.Timeout | undefined
  #pump: NodeJS.Immediate | undefined
  #waiters: { holds: () => boolean; resolve: () => void }[] = []

  constructor(options: ViewersOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#viewers.size
  }

  add(socket: WebSocket, claims: AttachClaims): Viewer {
    const { clock, limits } = this.#options
    const since = clock()
    const viewer = new Viewer(socket, claims, this.#options)
    this.#viewers.add(viewer)
    this.#ticker ??= setInterval(() => this.#tick(), Math.min(TICK_MS, limits.heartbeatMs / 2))
    socket.once('close', (closeCode) => {
      this.#viewers.delete(viewer)
      if (this.#viewers.size === 0) this.#stopTicker()
      const { mode, protocol, sentBytes } = viewer
      const durationMs = Math.round(clock() - since)
      this.#options.onLeft(viewer, { viewer: viewer.viewer, mode, protocol, sentBytes, durationMs, closeCode })
      this.#checkWaiters()
    })
    if (this.#revoked.has(claims.viewer)) viewer.close(CLOSE.token, 'access was withdrawn')
    else if (this.#status) viewer.setStatus(this.#status)
    return viewer
  }

  setStatus(status: StatusMessage): void {
    this.#status = status
    for (const viewer of this.#viewers) viewer.setStatus(status)
  }

  /** A key that interrupts was typed. */
  catchUp(): void {
    for (const viewer of this.#viewers) viewer.catchUp()
  }

  onProgress(stream: string): void {
    for (const viewer of this.#viewers) viewer.onProgress(stream)
  }

  /** What a viewer's window shows; of several the one that was opened last. */
  findColours(viewer: string | undefined): TerminalColours | undefined {
    return [...this.#viewers].findLast((each) => each.viewer === viewer && each.colours)?.colours
  }

  /** Lets viewers send what is new, once in this turn of the event loop. */
  poke(): void {
    this.#pump ??= setImmediate(() => {
      this.#pump = undefined
      for (const viewer of this.#viewers) viewer.pump()
      this.#checkWaiters()
    })
  }

  /** Puts a viewer out and keeps it out, whatever assertion it holds. */
  revoke(viewer: string): void {
    this.#revoked.add(viewer)
    for (const each of this.#viewers) if (each.viewer === viewer) each.close(CLOSE.token, 'access was withdrawn')
  }

  closeAll(code: number, reason: string): void {
    for (const viewer of this.#viewers) viewer.close(code, reason)
  }

  /** Resolves when each viewer has got everything or is gone; after the end that is when none is left. */
  idle(limitMs: number): Promise<void> {
    return this.#until(() => [...this.#viewers].every((viewer) => viewer.isIdle), limitMs)
  }

  /** Resolves when no viewer is left. */
  gone(limitMs: number): Promise<void> {
    return this.#until(() => this.#viewers.size === 0, limitMs)
  }

  [Symbol.dispose](): void {
    this.#stopTicker()
    clearImmediate(this.#pump)
    for (const viewer of this.#viewers) viewer.terminate()
    for (const waiter of this.#waiters.splice(0)) waiter.resolve()
  }

  async #until(holds: () => boolean, limitMs: number): Promise<void> {
    if (holds()) return
    await new Promise<void>((resolve) => {
      const waiter = { holds, resolve }
      this.#waiters.push(waiter)
      const timer = setTimeout(() => waiter.resolve(), limitMs)
      waiter.resolve = () => {
        clearTimeout(timer)
        this.#waiters = this.#waiters.filter((each) => each !== waiter)
        resolve()
      }
    })
  }

  #checkWaiters(): void {
    for (const waiter of this.#waiters) if (waiter.holds()) waiter.resolve()
  }

  #tick(): void {
    for (const viewer of this.#viewers) viewer.tick()
    this.#checkWaiters()
  }

  #stopTicker(): void {
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }
}
