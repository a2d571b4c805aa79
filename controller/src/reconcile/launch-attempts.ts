/** Waits before the second, third … launch of a session, in milliseconds; after the last one nothing is tried. */
const DELAYS_MS = [500, 1_000, 2_000, 4_000]
/** While the launcher is not available, waits double from the first of these up to the second. */
const UNAVAILABLE_MS = [500, 15_000] as const
/** So many sessions refused in a row say that the launcher is away for all, and not for one session. */
const AWAY_FOR_ALL = 4

interface Tries {
  /** Tries that failed for a reason of their own. */
  readonly count: number
  /** Times in a row that the launcher was not available. */
  readonly away: number
  readonly nextAt: number
}

/**
 * How often this process tried to launch each session, and when it may try again. Each wait is up to a quarter longer or
 * shorter than said, so that sessions which met the same fault do not come back together.
 */
export class LaunchAttempts {
  readonly #sessions = new Map<string, Tries>()
  readonly #now: () => number
  readonly #random: () => number
  readonly #refused = new Set<string>()
  #rounds = 0
  #pausedUntil = 0

  constructor(now: () => number = Date.now, random: () => number = Math.random) {
    this.#now = now
    this.#random = random
  }

  /** Whether this process launched it before. */
  knows(id: string): boolean {
    return this.#sessions.has(id)
  }

  /** Whether nothing is to be launched just now: the launcher was away for several sessions, and would be for more. */
  get paused(): boolean {
    return this.#now() < this.#pausedUntil
  }

  mayTry(id: string): boolean {
    if (this.paused) return false
    const known = this.#sessions.get(id)
    return known === undefined || (known.count <= DELAYS_MS.length && this.#now() >= known.nextAt)
  }

  exhausted(id: string): boolean {
    const known = this.#sessions.get(id)
    return known !== undefined && known.count > DELAYS_MS.length && this.#now() >= known.nextAt
  }

  /** Makes it this process's task to launch a session, at once. */
  take(id: string): void {
    if (!this.knows(id)) this.#sessions.set(id, { count: 0, away: 0, nextAt: 0 })
  }

  /** Counts a try that the launcher was there for. Returns how many are left. */
  tried(id: string): number {
    this.#refused.clear()
    this.#rounds = 0
    this.#pausedUntil = 0
    const count = (this.#sessions.get(id)?.count ?? 0) + 1
    this.#sessions.set(id, { count, away: 0, nextAt: this.#now() + this.#jittered(DELAYS_MS[count - 1] ?? 0) })
    return DELAYS_MS.length + 1 - count
  }

  /** The launcher was not available: that says nothing about the session, and is not counted. */
  postponed(id: string): void {
    const { count = 0, away = 0 } = this.#sessions.get(id) ?? {}
    this.#sessions.set(id, { count, away: away + 1, nextAt: this.#now() + this.#doubled(away) })
    this.#refused.add(id)
    if (this.#refused.size < AWAY_FOR_ALL) return
    this.#refused.clear()
    this.#pausedUntil = this.#now() + this.#doubled(this.#rounds++)
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
    const due = this.paused ? [{ nextAt: this.#pausedUntil }] : [...this.#sessions.values()]
    const waits = due.map(({ nextAt }) => nextAt - now).filter((wait) => wait > 0)
    return Math.min(otherwise, ...waits)
  }

  #doubled(times: number): number {
    const [first, longest] = UNAVAILABLE_MS
    return this.#jittered(Math.min(longest, first * 2 ** Math.min(times, 16)))
  }

  #jittered(ms: number): number {
    return Math.round(ms * (0.75 + this.#random() / 2))
  }
}
