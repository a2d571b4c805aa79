/** Counted for each message beside its bytes, so that a flood of empty ones is bounded too. */
const MESSAGE_COST_BYTES = 512

/** A token bucket of one second's bytes. It may go into debt by what was already read from the socket. */
export class InputBudget {
  readonly #bytesPerSecond: number
  readonly #now: () => number
  #left: number
  #at: number

  constructor(bytesPerSecond: number, now: () => number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#now = now
    this.#left = bytesPerSecond
    this.#at = now()
  }

  /** Takes a message's bytes; returns for how many milliseconds nothing more should be read. */
  take(bytes: number): number {
    const now = this.#now()
    this.#left = Math.min(this.#bytesPerSecond, this.#left + ((now - this.#at) * this.#bytesPerSecond) / 1000)
    this.#at = now
    this.#left -= bytes + MESSAGE_COST_BYTES
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left * 1000) / this.#bytesPerSecond)
  }
}
