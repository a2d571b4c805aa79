import { setTimeout as sleep } from 'node:timers/promises'
import type { Printer } from './printer.ts'

/** Something that was started: how to end it in order, and how to kill it when there is no more patience. */
export interface Started {
  readonly name: string
  run(): Promise<void>
  kill(): void | Promise<void>
}

/** npm hands on a Ctrl-C that the terminal has delivered to us already: two signals that close are one. */
const SAME_SIGNAL_MS = 500
/** How long killing may take, in milliseconds. */
const KILL_MS = 5_000
const EXIT_INTERRUPTED = 130

/** Thrown inside a start that is no longer wanted. */
class StopRequested extends Error {
  constructor() {
    super('the start is no longer wanted')
  }
}

/**
 * Ends what was started, the last first. Asked once (Ctrl-C, SIGTERM, SIGHUP) it does so in order; asked again it kills
 * all at once and ends the process with 130.
 */
export class Shutdown {
  readonly #started: Started[] = []
  readonly #exit: (code: number) => void
  readonly #now: () => number
  #requestedAt: number | undefined
  #resolve: () => void = () => {}
  /** Resolves when it was asked for. */
  readonly requested = new Promise<void>((resolve) => (this.#resolve = resolve))

  constructor(options: { exit: (code: number) => void; now?: () => number }) {
    this.#exit = options.exit
    this.#now = options.now ?? Date.now
  }

  get isRequested(): boolean {
    return this.#requestedAt !== undefined
  }

  /** @throws inside a start that should go no further. */
  throwIfRequested(): void {
    if (this.isRequested) throw new StopRequested()
  }

  add(started: Started): void {
    this.#started.push(started)
  }

  request(): void {
    if (this.#requestedAt === undefined) {
      this.#requestedAt = this.#now()
      this.#resolve()
    } else if (this.#now() - this.#requestedAt > SAME_SIGNAL_MS) {
      void this.#killAll()
    }
  }

  async #killAll(): Promise<void> {
    const all = Promise.allSettled([...this.#started].reverse().map(async (started) => started.kill()))
    await Promise.race([all, sleep(KILL_MS, undefined, { ref: false })])
    this.#exit(EXIT_INTERRUPTED)
  }

  /** Ends all, also when one of them fails to end in order. */
  async run(printer: Printer): Promise<void> {
    for (let started = this.#started.at(-1); started !== undefined; started = this.#started.at(-1)) {
      const { name } = started
      const ended = printer.step(name, () => started.run())
      await ended.catch((error: unknown) => printer.line((error as Error).message))
      this.#started.pop()
    }
  }
}
