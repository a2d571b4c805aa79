/** Plain text takes some 50 ms for each MiB on the machines of today; what takes more than this is given up. */
const MS_PER_BYTE = 400 / (1024 * 1024)
/** Part of a processor that the screen may take besides, so that programs that draw seldom may draw at any cost. */
const SHARE = 0.25

/** Processor time that the screen has left. Output that costs more than plain text uses it up. */
export class ScreenBudget {
  readonly #clock: () => number
  readonly #mostMs: number
  #leftMs: number
  #at: number

  /** @param mostMs what may be saved up. @param clock milliseconds that never go back. */
  constructor(mostMs: number, clock: () => number) {
    this.#mostMs = this.#leftMs = mostMs
    this.#clock = clock
    this.#at = clock()
  }

  /** Notes what `bytes` of output cost; false when nothing is left. */
  spend(bytes: number, cpuMs: number): boolean {
    const now = this.#clock()
    const earned = (now - this.#at) * SHARE + bytes * MS_PER_BYTE
    this.#at = now
    this.#leftMs = Math.min(this.#mostMs, this.#leftMs + earned) - cpuMs
    return this.#leftMs >= 0
  }
}

const ANSWER_BYTES_PER_SECOND = 16 * 1024

/** Bounds the answers to a program that floods its terminal with queries: they must not fill its input. */
export class AnswerBudget {
  readonly #clock: () => number
  #left = ANSWER_BYTES_PER_SECOND
  #at: number

  constructor(clock: () => number) {
    this.#clock = clock
    this.#at = clock()
  }

  /** Whether an answer of so many bytes may be given. */
  take(bytes: number): boolean {
    const now = this.#clock()
    this.#left = Math.min(ANSWER_BYTES_PER_SECOND, this.#left + ((now - this.#at) * ANSWER_BYTES_PER_SECOND) / 1000)
    this.#at = now
    if (bytes > this.#left) return false
    this.#left -= bytes
    return true
  }
}
