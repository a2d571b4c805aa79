import type { Address } from '../launcher.ts'
import { HostProbe } from './host-probe.ts'

const LOOK_EVERY_MS = 250
/** Looks at a silent host before work is asked in its place: half a second of the grace is left for the end by force. */
const ASK_AFTER_LOOKS = 2
/** Silence after which a host is killed, so that the next one has the time to report. */
const KILL_AFTER_MS = 4_000

export interface StopWatchOptions {
  /** Where the host listens, while it does. */
  readonly address: () => Address | undefined
  /** Asks work to stop its command. Must be harmless if the host asks as well. */
  readonly askWork: () => void
  readonly killHost: () => void
}

/**
 * Watches the host of a session that is to stop, until it answers for the first time. One that hangs asks nobody to end:
 * its program would be killed at the end of a stop's time without a word before, and with nothing told of it.
 */
export class StopWatch {
  readonly #options: StopWatchOptions
  readonly #probe = new HostProbe({ everyMs: LOOK_EVERY_MS, limitMs: KILL_AFTER_MS, graceMs: 0 })
  readonly #timer: NodeJS.Timeout
  #looks = 0

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
    if (this.#probe.hasAnswered) return this.close()
    if (++this.#looks === ASK_AFTER_LOOKS) this.#options.askWork()
    const address = this.#options.address()
    // One that is being started is not silent.
    if (address === undefined || !this.#probe.look(address)) return
    this.close()
    this.#options.killHost()
  }
}
