import { STOP_LIMITS } from '@cliscale/contract'
import type { StopReason } from './stop-request.ts'

/** What is on its way from a work that has ended is here by then. */
const LAST_WORDS_MS = 5000

/**
 * How long a host waits for work to end what it was told to stop: its grace and a moment, and longer while it still
 * sends something. A host that gives up ends the session itself.
 */
export class StopPatience {
  private readonly now: () => number
  private untilMs = Infinity
  private atMostUntilMs = Infinity

  constructor(now: () => number = Date.now) {
    this.now = now
  }

  get leftMs(): number {
    return this.untilMs - this.now()
  }

  get isOver(): boolean {
    return this.leftMs < 0
  }

  /** Told again, also with another cause, it is never longer than before. */
  begin(cause: StopReason): void {
    const { graceMs, silenceMs, drainMs } = STOP_LIMITS
    const isGone = cause === 'work_gone'
    this.untilMs = Math.min(this.untilMs, this.now() + (isGone ? LAST_WORDS_MS : graceMs + silenceMs))
    this.atMostUntilMs = Math.min(this.atMostUntilMs, this.now() + (isGone ? LAST_WORDS_MS : graceMs + drainMs))
  }

  /** work has said something. */
  heard(): void {
    if (this.untilMs === Infinity) return
    this.untilMs = Math.max(this.untilMs, Math.min(this.atMostUntilMs, this.now() + STOP_LIMITS.silenceMs))
  }
}
