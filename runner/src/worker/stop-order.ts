import type { SessionProcess } from './process-list.ts'

export interface SignalTo {
  readonly process: SessionProcess
  readonly signals: readonly NodeJS.Signals[]
}

/** How long each may take, in the ticks of processes' starts. */
export interface StopTimes {
  /** For one that was asked, to pass the signal on. What runs for longer below a reader is no part of its reading. */
  readonly headStartTicks: number
  /** For all in one line that were asked, to finish with the help of those below. */
  readonly patienceTicks: number
  /** For a reader that reads nothing and has nobody left to read from: it may still work on what it has. */
  readonly quietTicks: number
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
 * - What reads the output of another (`node x | tee log`) ends by itself when it has read all of it. It is asked when it
 *   has read nothing for a while and the other has ended, or only such are left; at the latest half of the grace after the
 *   other's end. What runs something for longer than a moment (`producer | while read job; do long $job; done`) is no mere
 *   reader.
 * - What is started after its parent was asked is a part of the parent's clean-up, and left alone.
 * - Interactive shells ignore SIGTERM: they get SIGHUP, as from a window that closes. Other programs that ignore SIGTERM
 *   mean it, and have the whole grace.
 */
export class StopOrder {
  readonly #times: StopTimes
  /** When each was asked, by pid and start; on the clock of processes' starts. */
  readonly #asked = new Map<string, number>()
  readonly #held = new Set<string>()
  /** Parts of a clean-up. */
  readonly #left = new Set<string>()
  /** Whether each handled SIGTERM when it was seen first: `once` takes its handler away with the first signal. */
  readonly #known = new Map<string, boolean>()
  /** What reads others' output: how much it has read, since when no more, and since when its writers have ended. */
  readonly #reading = new Map<
    string,
    { readonly bytes: number; readonly at: number; readonly endedAt: number | undefined }
  >()

  constructor(times: StopTimes) {
    this.#times = times
  }

  /** What to send now, to be carried out in this order, given all that was found alive. */
  next(alive: readonly SessionProcess[], now: number): SignalTo[] {
    const everybody = new Family(alive)
    for (const one of alive) if (this.#isPartOfCleanUp(one, everybody)) this.#left.add(key(one))
    for (const one of alive) if (!this.#known.has(key(one))) this.#known.set(key(one), one.onTerm === 'handles')
    const meant = alive.filter((one) => !this.#left.has(key(one)))
    const family = new Family(meant)
    const { fed, draining } = this.#readers(meant, family, now)
    const spared = family.withBelow([...fed, ...draining])
    const held = new Set([...family.held()].filter((one) => !spared.has(one)))
    const others = meant.filter((one) => !held.has(one) && !spared.has(one))
    const left = others.length > 0 || draining.length > 0 ? others : fed.filter((one) => this.#isQuiet(one, now))
    return [
      ...this.#hold(held),
      // The highest first: what is below waits for it.
      ...family.fromTop(left).flatMap((one) => this.#ask(one, family, held, now)),
    ]
  }

  /** What reads others' output: of those that live, and of those that lived at an earlier look. */
  #readers(meant: readonly SessionProcess[], family: Family, now: number) {
    const since = now - this.#times.headStartTicks
    // One that was held for a long job would begin the next one.
    const readers = meant.filter((one) => !this.#held.has(key(one)) && isReader(one, family, since))
    const fed = readers.filter((one) => isFed(one, meant, family))
    for (const one of readers) this.#noteReading(one, fed.includes(one), now)
    const draining = readers.filter((one) => !fed.includes(one) && this.#isDraining(one, now))
    return { fed, draining }
  }

  #noteReading(one: SessionProcess, hasWriter: boolean, now: number): void {
    const seen = this.#reading.get(key(one))
    if (seen === undefined && !hasWriter) return
    const reading = seen ?? { bytes: one.readBytes, at: now, endedAt: undefined }
    const hasRead = reading.bytes !== one.readBytes
    // What had nothing to read while its writers lived has not been quiet.
    const at = hasRead || (!hasWriter && reading.endedAt === undefined) ? now : reading.at
    const endedAt = hasWriter ? undefined : (reading.endedAt ?? now)
    this.#reading.set(key(one), { bytes: one.readBytes, at, endedAt })
  }

  #isQuiet(one: SessionProcess, now: number): boolean {
    return now - (this.#reading.get(key(one))?.at ?? -Infinity) >= this.#times.quietTicks
  }

  /** It reads on after its writers have ended; what reads other things too is not waited for without end. */
  #isDraining(one: SessionProcess, now: number): boolean {
    const endedAt = this.#reading.get(key(one))?.endedAt
    if (endedAt === undefined || this.#asked.has(key(one))) return false
    return !this.#isQuiet(one, now) && now - endedAt < this.#times.patienceTicks
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
    const { headStartTicks, patienceTicks } = this.#times
    if (this.#asked.has(key(one))) return false
    // One that was held helps nobody above it, and could not hear what is passed on.
    if (this.#held.has(key(one)) && !this.#known.get(key(one))) return true
    // One that is held waits for those below it, and is asked last.
    const handling = family
      .above(one)
      .filter((above) => this.#known.get(key(above)) && (this.#asked.has(key(above)) || !held.has(above)))
    const asked = handling.map((above) => this.#asked.get(key(above)))
    const first = Math.min(...asked.map((at) => at ?? Infinity))
    const isPatienceOver = now - first >= patienceTicks
    // One without a handler hears nothing twice.
    const headStart = this.#known.get(key(one)) ? headStartTicks : 0
    return handling.every((above, i) => {
      const at = asked[i]
      if (at === undefined) return false // its turn comes first
      if (above.waits) return now - at >= headStart
      return now - at >= (isPatienceOver && at > first ? headStartTicks : patienceTicks)
    })
  }

  #ask(one: SessionProcess, family: Family, held: ReadonlySet<SessionProcess>, now: number): SignalTo[] {
    if (!this.#isDue(one, family, held, now)) return []
    this.#asked.set(key(one), now)
    // SIGCONT also to one that was stopped by somebody else.
    return [{ process: one, signals: [one.isShell ? 'SIGHUP' : 'SIGTERM', 'SIGCONT'] }]
  }
}

/** One that reads a pipe and runs nothing that began before `since`: a child that runs longer is a job of its own. */
function isReader(one: SessionProcess, family: Family, since: number): boolean {
  if (one.onTerm !== 'ends' || one.reads === undefined) return false
  return [...family.withBelow([one])].every((below) => below === one || below.start > since)
}

/** Whether one that lives writes what it reads. */
function isFed(one: SessionProcess, alive: readonly SessionProcess[], family: Family): boolean {
  const below = family.withBelow([one])
  return alive.some((other) => !below.has(other) && other.writes.includes(one.reads!))
}

/** Who started whom. */
class Family {
  readonly #alive: readonly SessionProcess[]
  readonly #byPid: ReadonlyMap<number, SessionProcess>
  readonly #children: ReadonlyMap<number, readonly SessionProcess[]>

  constructor(alive: readonly SessionProcess[]) {
    this.#alive = alive
    this.#byPid = new Map(alive.map((one) => [one.pid, one]))
    const children = new Map<number, SessionProcess[]>()
    for (const one of alive) {
      const siblings = children.get(one.parent)
      if (siblings === undefined) children.set(one.parent, [one])
      else siblings.push(one)
    }
    this.#children = children
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

  /** These and all below them. */
  withBelow(some: readonly SessionProcess[]): Set<SessionProcess> {
    const found = new Set(some)
    for (const one of found) for (const child of this.#children.get(one.pid) ?? []) found.add(child)
    return found
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
