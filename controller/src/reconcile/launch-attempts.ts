/** Waits before the second, third … launch of a session, in milliseconds; after the last one nothing is tried. */
const DELAYS_MS = [500, 1_000, 2_000, 4_000]

/** How often this process tried to launch each session, and when it may try again. */
export class LaunchAttempts {
  readonly #sessions = new Map<string, { count: number; nextAt: number }>()
  readonly #now: () => number

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** Whether this process launched it before. */
  knows(id: string): boolean {
    return this.#sessions.has(id)
  }

  mayTry(id: string): boolean {
    const known = this.#sessions.get(id)
    return known === undefined || (known.count <= DELAYS_MS.length && this.#now() >= known.nextAt)
  }

  exhausted(id: string): boolean {
    const known = this.#sessions.get(id)
    return known !== undefined && known.count > DELAYS_MS.length && this.#now() >= known.nextAt
  }

  /** Counts a try. Returns how many are left. */
  tried(id: string): number {
    const count = (this.#sessions.get(id)?.count ?? 0) + 1
    this.#sessions.set(id, { count, nextAt: this.#now() + (DELAYS_MS[count - 1] ?? 0) })
    return DELAYS_MS.length + 1 - count
  }

  forget(id: string): void {
    this.#sessions.delete(id)
  }

  forgetAllBut(ids: ReadonlySet<string>): void {
    for (const id of this.#sessions.keys()) if (!ids.has(id)) this.#sessions.delete(id)
  }

  /** How long to wait at most, so that the next try that is due is not late; `otherwise` when none is. */
  nextAfterMs(otherwise: number): number {
    const now = this.#now()
    const waits = [...this.#sessions.values()].map(({ nextAt }) => nextAt - now).filter((wait) => wait > 0)
    return Math.min(otherwise, ...waits)
  }
}
