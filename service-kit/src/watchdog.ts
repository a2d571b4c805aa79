/** How long something may show no sign of life before it is ended and started again, in milliseconds. */
export const HUNG_AFTER_MS = 15_000
/** How much longer the first sign of a session's host may take: it reads its journal before it does anything else. */
export const START_GRACE_MS = 45_000

/**
 * Tells when something has shown no sign of life for too long. Time counts by `tick`, which the caller calls every
 * `tickMs`, and in which the caller itself stood still (the machine was suspended, or is very busy) counts as little
 * more than one tick: what could not be heard was not missed.
 */
export class Watchdog {
  readonly #limitMs: number
  readonly #longestTickMs: number
  readonly #now: () => number
  #lastTick: number
  #silentMs: number

  /** `graceMs`: how much longer than `limitMs` the first sign may take. `now` never goes back. */
  constructor(options: { limitMs: number; tickMs: number; graceMs?: number; now?: () => number }) {
    this.#limitMs = options.limitMs
    this.#longestTickMs = options.tickMs * 1.5
    this.#now = options.now ?? (() => performance.now())
    this.#lastTick = this.#now()
    this.#silentMs = -(options.graceMs ?? 0)
  }

  /** A sign of life. */
  beat(): void {
    this.#silentMs = 0
  }

  /**
   * Returns whether it has been silent for too long. `heldUpMs`: for how much of this tick what is watched could not have
   * given a sign, however well it is.
   */
  tick(heldUpMs = 0): boolean {
    const now = this.#now()
    this.#silentMs += Math.max(0, Math.min(now - this.#lastTick, this.#longestTickMs) - heldUpMs)
    this.#lastTick = now
    return this.#silentMs >= this.#limitMs
  }
}
