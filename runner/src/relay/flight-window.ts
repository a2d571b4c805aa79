export interface FlightOptions {
  readonly minBytes: number
  /** Until something was measured. */
  readonly startBytes: number
  readonly maxBytes: number
  /** For how long what is on its way may keep its reader busy. */
  readonly targetMs: number
  /** Milliseconds of a clock that never goes back. */
  readonly clock: () => number
}

/**
 * How much may be on its way to a reader: what it works off in about `targetMs`, by the rate of its acknowledgements, so
 * that it is never further behind than that, however slow it is.
 */
export class FlightWindow {
  readonly #options: FlightOptions
  #bytes: number
  #sent = 0
  #acknowledged = 0
  /** What is measured now: since when, from which offset on, and whether the window was in its way. */
  #from = { at: 0, offset: 0, filled: false }

  constructor(options: FlightOptions) {
    this.#options = options
    this.#bytes = options.startBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Everything before `offset` is on its way. */
  sent(offset: number): void {
    if (this.#sent === this.#acknowledged) this.#measureFrom(this.#acknowledged)
    this.#sent = offset
    // A window that is not filled says nothing of what more would cost.
    if (offset - this.#acknowledged >= this.#bytes / 2) this.#from.filled = true
  }

  /** Everything before `offset` was worked off. */
  acknowledged(offset: number): void {
    const { minBytes, maxBytes, targetMs, clock } = this.#options
    const { at, offset: start, filled } = this.#from
    this.#acknowledged = Math.min(offset, this.#sent)
    const elapsedMs = Math.max(1, clock() - at)
    if (elapsedMs < targetMs / 2 && this.#acknowledged < this.#sent) return
    if (filled) {
      const goal = ((this.#acknowledged - start) / elapsedMs) * targetMs
      this.#bytes = Math.min(maxBytes, Math.max(minBytes, Math.min(Math.round(goal), this.#bytes * 2)))
    }
    this.#measureFrom(this.#acknowledged)
  }

  /** Both ends go on from another offset. */
  jump(offset: number): void {
    this.#sent = this.#acknowledged = offset
  }

  #measureFrom(offset: number): void {
    this.#from = { at: this.#options.clock(), offset, filled: this.#sent - offset >= this.#bytes / 2 }
  }
}
