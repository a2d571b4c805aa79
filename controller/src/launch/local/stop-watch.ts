import { readFileSync } from 'node:fs'
import { STOP_LIMITS } from '@cliscale/contract'
import type { Address } from '../launcher.ts'
import { HostProbe } from './host-probe.ts'

/** How often a host is looked at that has not answered since it is to stop, and one that has. */
const LOOK_EVERY_MS = 250
const LOOK_AGAIN_EVERY_MS = 1_000
/** Looks at a silent host before work is asked in its place: after the grace, half a second is left before the end by force. */
const ASK_AFTER_LOOKS = 2
/** Silence after which a host is killed, so that the next one has the time to report. */
const KILL_AFTER_MS = 4_000
/** What a new host takes at least to start, to read its journal and to report. */
const REPORT_MS = 1_000

export interface StopWatchOptions {
  /** Where the host listens, while it does. */
  readonly address: () => Address | undefined
  /** The host's process, while it runs. */
  readonly pid: () => number | undefined
  /** Asks work to stop its command. Must be harmless if the host asks as well. */
  readonly askWork: () => void
  readonly killHost: () => void
}

/**
 * Watches the host of a session that is to stop, until that is over. One that hangs asks nobody to end: its program would
 * be killed at the end of a stop's time without a word before. One that hangs after it has asked takes the last output and
 * the exit code with it. The next host can do both, while there is time for one.
 */
export class StopWatch {
  readonly #options: StopWatchOptions
  readonly #beganAt = performance.now()
  #probe = new HostProbe({ everyMs: LOOK_EVERY_MS, limitMs: KILL_AFTER_MS, graceMs: 0 })
  #timer: NodeJS.Timeout
  #looks = 0
  #hasAnswered = false
  #waited: { readonly pid: number; readonly ms: number } | undefined

  constructor(options: StopWatchOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS)
    this.#probe.look(options.address())
  }

  close(): void {
    clearInterval(this.#timer)
    this.#probe.close()
  }

  #look(): void {
    if (this.#probe.hasAnswered && !this.#hasAnswered) this.#watchOn()
    if (!this.#hasAnswered && ++this.#looks === ASK_AFTER_LOOKS) this.#options.askWork()
    const address = this.#options.address()
    const heldUpMs = this.#heldUpMs()
    // One that is being started is not silent.
    if (address === undefined || !this.#probe.look(address, heldUpMs)) return
    this.close()
    if (performance.now() - this.#beganAt > STOP_LIMITS.machineMs - REPORT_MS) return
    this.#options.killHost()
    this.#watchOn()
  }

  /** From the first answer on, and for the next host, less often: there may be a hundred sessions to stop. */
  #watchOn(): void {
    this.close()
    this.#hasAnswered = true
    this.#probe = new HostProbe({ everyMs: LOOK_AGAIN_EVERY_MS, limitMs: KILL_AFTER_MS, graceMs: 0 })
    this.#timer = setInterval(() => this.#look(), LOOK_AGAIN_EVERY_MS)
  }

  /** A host among a hundred that all end on two cores waits for a processor, and is well. */
  #heldUpMs(): number {
    const pid = this.#options.pid()
    const [before, ms] = [this.#waited, pid === undefined ? undefined : waitedMs(pid)]
    this.#waited = pid === undefined || ms === undefined ? undefined : { pid, ms }
    return before === undefined || ms === undefined || before.pid !== pid ? 0 : ms - before.ms
  }
}

/** How long a process's first thread, in Node that of the event loop, was ready and waited; undefined where nobody tells. */
function waitedMs(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[1]) / 1e6
  } catch {
    return undefined
  }
}
