import type { Mode, TerminalSize } from '@cliscale/contract'

/** What the rule needs to know of a viewer's connection. */
export interface Seat {
  readonly viewer: string
  readonly mode: Mode
}

export interface DriverOptions {
  readonly apply: (size: TerminalSize) => void
  readonly debounceMs: number
  readonly graceMs: number
}

/**
 * Decides whose size rules: the read-write viewer that typed last, else the first one there. One that leaves keeps the
 * rule for a grace, so that a dropped connection does not resize the program twice. Owns timers; dispose it.
 */
export class Driver implements Disposable {
  readonly #options: DriverOptions
  /** Read-write seats in the order of their last typing, then of their coming; the last one is next in line. */
  #seats: { seat: Seat; typed: boolean; wanted: TerminalSize | undefined }[] = []
  #driver: string | undefined
  #wanted: TerminalSize | undefined
  #debounce: NodeJS.Timeout | undefined
  #grace: NodeJS.Timeout | undefined

  constructor(options: DriverOptions) {
    this.#options = options
  }

  /** The viewer whose size rules. */
  get viewer(): string | undefined {
    return this.#driver
  }

  wants(seat: Seat, size: TerminalSize): void {
    if (seat.mode !== 'rw') return
    const entry = this.#seats.find((e) => e.seat === seat)
    if (entry) entry.wanted = size
    else this.#seats.push({ seat, typed: false, wanted: size })
    this.#driver ??= seat.viewer
    if (this.#driver === seat.viewer) this.#schedule(size)
  }

  typed(seat: Seat): void {
    const at = this.#seats.findIndex((e) => e.seat === seat)
    const entry = this.#seats[at]
    if (!entry || (this.#driver === seat.viewer && at === this.#seats.length - 1 && entry.typed)) return
    this.#seats.splice(at, 1)
    this.#seats.push({ ...entry, typed: true })
    if (this.#driver === seat.viewer) return
    this.#driver = seat.viewer
    clearTimeout(this.#grace)
    if (entry.wanted) this.#schedule(entry.wanted)
  }

  left(seat: Seat): void {
    this.#seats = this.#seats.filter((e) => e.seat !== seat)
    if (this.#driver !== seat.viewer || this.#seats.some((e) => e.seat.viewer === seat.viewer)) return
    clearTimeout(this.#grace)
    this.#grace = setTimeout(() => this.#succeed(), this.#options.graceMs)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#debounce)
    clearTimeout(this.#grace)
  }

  #succeed(): void {
    if (this.#seats.some((e) => e.seat.viewer === this.#driver)) return
    const next = this.#seats.findLast((e) => e.typed) ?? this.#seats[0]
    this.#driver = next?.seat.viewer
    if (next?.wanted) this.#schedule(next.wanted)
  }

  #schedule(size: TerminalSize): void {
    this.#wanted = size
    clearTimeout(this.#debounce)
    this.#debounce = setTimeout(() => {
      if (this.#wanted) this.#options.apply(this.#wanted)
    }, this.#options.debounceMs)
  }
}
