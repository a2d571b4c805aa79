import type { Mode, TerminalSize } from '@cliscale/contract'

/** What the rule needs to know of a viewer's connection. */
export interface Seat {
  readonly viewer: string
  readonly mode: Mode
}

/** How much a viewer wants its size to rule: `take`, it asks for it; `drives`, it did when it was last attached. */
export interface Claim {
  readonly take?: boolean
  readonly drives?: boolean
}

export interface DriverOptions {
  readonly apply: (size: TerminalSize) => void
  /** Another viewer's size rules now. */
  readonly onChange?: () => void
  readonly debounceMs: number
  readonly graceMs: number
}

interface Entry {
  readonly seat: Seat
  readonly typed: boolean
  wanted: TerminalSize | undefined
}

/**
 * Decides whose size rules: the read-write viewer that typed or asked for it last, else the first one there. One that
 * leaves keeps the rule for a grace, so that a dropped connection does not resize the program twice; one that comes
 * back later gets it back, unless somebody has typed or asked meanwhile. Owns timers; dispose it.
 */
export class Driver implements Disposable {
  readonly #options: DriverOptions
  /** Read-write seats in the order of their last typing, then of their coming; the last one is next in line. */
  #seats: Entry[] = []
  #driver: string | undefined
  /** Whether the driver is one by what it did, not because no other was there. */
  #isChosen = false
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

  wants(seat: Seat, size: TerminalSize, claim: Claim = {}): void {
    if (seat.mode !== 'rw') return
    const entry = this.#seats.find((e) => e.seat === seat)
    if (entry) entry.wanted = size
    else this.#seats.push({ seat, typed: false, wanted: size })
    if (claim.take) this.typed(seat)
    else if (this.#driver === undefined || (claim.drives && !this.#isChosen)) this.#choose(seat.viewer, !!claim.drives)
    if (this.#driver === seat.viewer) this.#schedule(size)
  }

  typed(seat: Seat): void {
    const at = this.#seats.findIndex((e) => e.seat === seat)
    const entry = this.#seats[at]
    if (!entry) return
    const wasDriver = this.#driver === seat.viewer
    if (!entry.typed || at < this.#seats.length - 1) {
      this.#seats.splice(at, 1)
      this.#seats.push({ ...entry, typed: true })
    }
    this.#choose(seat.viewer, true)
    if (!wasDriver && entry.wanted) this.#schedule(entry.wanted)
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
    this.#choose(next?.seat.viewer, false)
    if (next?.wanted) this.#schedule(next.wanted)
  }

  #choose(viewer: string | undefined, isChosen: boolean): void {
    this.#isChosen = isChosen
    if (this.#driver === viewer) return
    this.#driver = viewer
    clearTimeout(this.#grace)
    this.#options.onChange?.()
  }

  #schedule(size: TerminalSize): void {
    this.#wanted = size
    clearTimeout(this.#debounce)
    this.#debounce = setTimeout(() => {
      if (this.#wanted) this.#options.apply(this.#wanted)
    }, this.#options.debounceMs)
  }
}
