import type { SessionProcess } from './process-list.ts'

export interface SignalTo {
  readonly process: SessionProcess
  readonly signals: readonly NodeJS.Signals[]
}

/**
 * Decides who of a session is asked to end, and when, so that each gets to do what it does at SIGTERM: nobody's parent,
 * terminal or reader goes first.
 *
 * - A process that SIGTERM would end, or an interactive shell, whose children live is **held** (SIGSTOP), with all above
 *   it: its end would hang up the terminal (a terminal's leader) or be taken for that of its children (`sh` under npm), and
 *   it must not go on to its next command. It is asked when its children are gone.
 * - A process that handles SIGTERM is asked at once, once. One below another that was asked comes later: the one above may
 *   pass the signal on, and a program that is asked twice often ends at the second; or it finishes what it does with the
 *   help of those below. They come when it does nothing but wait for them, when it is gone, or after half of the grace. All
 *   in one line share that half: after it, each further one has a moment before the next.
 * - What reads the output of another (`node x | tee log`) ends by itself after it; it is asked when only such are left.
 * - What is started after its parent was asked is a part of the parent's clean-up, and left alone.
 * - Interactive shells ignore SIGTERM: they get SIGHUP, as from a window that closes. Other programs that ignore SIGTERM
 *   mean it, and have the whole grace.
 */
export class StopOrder {
  readonly #headStartTicks: number
  readonly #patienceTicks: number
  /** When each was asked, by pid and start; on the clock of processes' starts. */
  readonly #asked = new Map<string, number>()
  readonly #held = new Set<string>()
  /** Parts of a clean-up. */
  readonly #left = new Set<string>()
  /** Whether each handled SIGTERM when it was seen first: `once` takes its handler away with the first signal. */
  readonly #known = new Map<string, boolean>()

  /** What one that was asked has to pass the signal on, and to finish with those below it. */
  constructor({ headStartTicks, patienceTicks }: { headStartTicks: number; patienceTicks: number }) {
    this.#headStartTicks = headStartTicks
    this.#patienceTicks = patienceTicks
  }

  /** What to send now, to be carried out in this order, given all that was found alive. */
  next(alive: readonly SessionProcess[], now: number): SignalTo[] {
    const everybody = new Family(alive)
    for (const one of alive) if (this.#isPartOfCleanUp(one, everybody)) this.#left.add(key(one))
    for (const one of alive) if (!this.#known.has(key(one))) this.#known.set(key(one), one.onTerm === 'handles')
    const meant = alive.filter((one) => !this.#left.has(key(one)))
    const family = new Family(meant)
    const held = family.held()
    const readers = meant.filter((one) => !held.has(one) && waitsForInput(one, meant))
    const others = meant.filter((one) => !held.has(one) && !readers.includes(one))
    return [
      ...this.#hold(held),
      // The highest first: what is below waits for it.
      ...family.fromTop(others.length > 0 ? others : readers).flatMap((one) => this.#ask(one, family, held, now)),
    ]
  }

  #isPartOfCleanUp(one: SessionProcess, family: Family): boolean {
    if (this.#known.has(key(one))) return false
    // One that was started before its parent was asked, and after the look, is none.
    return family.above(one).some((above) => one.start >= (this.#asked.get(key(above)) ?? Infinity))
  }

  /** Parents first: one that sees its child stop may do something about it. */
  #hold(held: ReadonlySet<SessionProcess>): SignalTo[] {
    const fresh = [...held].filter((one) => !this.#held.has(key(one)) && !this.#asked.has(key(one)))
    for (const one of fresh) this.#held.add(key(one))
    return fresh.map((process) => ({ process, signals: ['SIGSTOP'] }))
  }

  #isDue(one: SessionProcess, family: Family, held: ReadonlySet<SessionProcess>, now: number): boolean {
    if (this.#asked.has(key(one))) return false
    // One that is held waits for those below it, and is asked last.
    const handling = family
      .above(one)
      .filter((above) => this.#known.get(key(above)) && (this.#asked.has(key(above)) || !held.has(above)))
    const asked = handling.map((above) => this.#asked.get(key(above)))
    const first = Math.min(...asked.map((at) => at ?? Infinity))
    const isPatienceOver = now - first >= this.#patienceTicks
    // One without a handler hears nothing twice.
    const headStart = this.#known.get(key(one)) ? this.#headStartTicks : 0
    return handling.every((above, i) => {
      const at = asked[i]
      if (at === undefined) return false // its turn comes first
      if (above.waits) return now - at >= headStart
      return now - at >= (isPatienceOver && at > first ? this.#headStartTicks : this.#patienceTicks)
    })
  }

  #ask(one: SessionProcess, family: Family, held: ReadonlySet<SessionProcess>, now: number): SignalTo[] {
    if (!this.#isDue(one, family, held, now)) return []
    this.#asked.set(key(one), now)
    // SIGCONT also to one that was stopped by somebody else.
    return [{ process: one, signals: [one.isShell ? 'SIGHUP' : 'SIGTERM', 'SIGCONT'] }]
  }
}

function waitsForInput({ onTerm, reads, pid }: SessionProcess, alive: readonly SessionProcess[]): boolean {
  return onTerm === 'ends' && reads !== undefined && alive.some((q) => q.pid !== pid && q.writes.includes(reads))
}

/** Who started whom. */
class Family {
  readonly #alive: readonly SessionProcess[]
  readonly #byPid: ReadonlyMap<number, SessionProcess>

  constructor(alive: readonly SessionProcess[]) {
    this.#alive = alive
    this.#byPid = new Map(alive.map((one) => [one.pid, one]))
  }

  /** Its parent, that one's parent and so on, the highest last. */
  above(one: SessionProcess): SessionProcess[] {
    const line: SessionProcess[] = []
    let parent = this.#byPid.get(one.parent)
    while (parent !== undefined && !line.includes(parent)) {
      line.push(parent)
      parent = this.#byPid.get(parent.parent)
    }
    return line
  }

  fromTop(some: readonly SessionProcess[]): SessionProcess[] {
    return some.toSorted((a, b) => this.above(a).length - this.above(b).length)
  }

  /** The highest first. */
  held(): Set<SessionProcess> {
    const parents = new Set(this.#alive.map((one) => this.#byPid.get(one.parent)).filter((one) => one !== undefined))
    const held = new Set<SessionProcess>()
    for (const one of parents) {
      if (one.onTerm !== 'ends' && !one.isShell) continue
      for (const each of [...this.above(one).toReversed(), one]) held.add(each)
    }
    return held
  }
}

function key({ pid, start }: SessionProcess): string {
  return `${pid} ${start}`
}
