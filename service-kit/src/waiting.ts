import { setTimeout as sleep } from 'node:timers/promises'

/** Waits that double from `minMs` to `maxMs`, each jittered between half of it and the whole. */
export class Backoff {
  readonly #minMs: number
  readonly #maxMs: number
  #currentMs: number

  constructor(minMs: number, maxMs: number) {
    this.#minMs = minMs
    this.#maxMs = maxMs
    this.#currentMs = minMs
  }

  reset(): void {
    this.#currentMs = this.#minMs
  }

  /** How long to wait now, in milliseconds; the next wait is longer. */
  nextMs(): number {
    const ms = this.#currentMs * (0.5 + Math.random() / 2)
    this.#currentMs = Math.min(this.#currentMs * 2, this.#maxMs)
    return ms
  }

  /** Rejects with an AbortError when the signal aborts. */
  async wait(signal?: AbortSignal): Promise<void> {
    await sleep(this.nextMs(), undefined, signal === undefined ? {} : { signal })
  }
}

/**
 * What `work` resolves to, when it does so within `limitMs`. Work that is late goes on unheard: what it resolves to or
 * throws is dropped.
 *
 * @throws what `late` returns when the limit has passed; what `work` rejects with before that.
 */
export async function withDeadline<T>(work: Promise<T>, limitMs: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), limitMs)
  })
  // When the deadline wins, nobody else hears the failure.
  work.catch(() => {})
  return Promise.race([work, deadline]).finally(() => clearTimeout(timer))
}

/**
 * What `work` resolves to, unless the signal aborts first, or has already. Work that is left goes on unheard.
 *
 * @throws the signal's reason; what `work` rejects with before that.
 */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  // When the signal wins, nobody else hears the failure.
  work.catch(() => {})
  // One that has aborted tells no listener of it any more.
  signal.throwIfAborted()
  let stop: () => void = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason as Error)
    signal.addEventListener('abort', stop, { once: true })
  })
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener('abort', stop))
}
