import type { FinalReport } from '@cliscale/contract'
import type { Launched, LaunchFault } from '../launch/launcher.ts'

interface Seen {
  readonly since: Map<string, { readonly value: string; readonly at: number }>
  launchId?: string | undefined
  fault?: LaunchFault | undefined
  report?: FinalReport | undefined
}

/**
 * What one reconciler remembers of open sessions between its passes: since when something is so, and what their launches
 * last said. Nothing in it has to survive the process: another one begins to count anew.
 */
export class Observations {
  readonly #sessions = new Map<string, Seen>()
  readonly #now: () => number

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** For how long, in milliseconds, this has been so without a change; undefined says that it is not so. */
  heldMs(id: string, what: string, value: string | undefined): number {
    const { since } = this.#of(id)
    if (value === undefined) {
      since.delete(what)
      return 0
    }
    const known = since.get(what)
    if (known?.value === value) return this.#now() - known.at
    since.set(what, { value, at: this.#now() })
    return 0
  }

  /** Keeps what a launch says about its end: it may be cleared away before its session ends. */
  note(id: string, { launchId, fault, report }: Launched): void {
    const seen = this.#of(id)
    if (launchId !== undefined && seen.launchId !== launchId)
      Object.assign(seen, { launchId, fault: undefined, report: undefined })
    seen.fault = fault ?? seen.fault
    seen.report = report ?? seen.report
  }

  /** What the session's launch last said about its end. */
  lastSeen(id: string): { readonly fault?: LaunchFault | undefined; readonly report?: FinalReport | undefined } {
    const { fault, report } = this.#of(id)
    return { fault, report }
  }

  forgetAllBut(ids: ReadonlySet<string>): void {
    for (const id of this.#sessions.keys()) if (!ids.has(id)) this.#sessions.delete(id)
  }

  #of(id: string): Seen {
    let seen = this.#sessions.get(id)
    if (seen === undefined) this.#sessions.set(id, (seen = { since: new Map() }))
    return seen
  }
}
