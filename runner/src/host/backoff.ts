import { setTimeout as sleep } from 'node:timers/promises'

/** Waits that double from `minMs` to `maxMs`, each jittered between half of it and the whole. */
export class Backoff {
  private readonly minMs: number
  private readonly maxMs: number
  private currentMs: number

  constructor(minMs: number, maxMs: number) {
    this.minMs = minMs
    this.maxMs = maxMs
    this.currentMs = minMs
  }

  reset(): void {
    this.currentMs = this.minMs
  }

  /** Rejects with an AbortError when the signal aborts. */
  async wait(signal?: AbortSignal): Promise<void> {
    const ms = this.currentMs * (0.5 + Math.random() / 2)
    this.currentMs = Math.min(this.currentMs * 2, this.maxMs)
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  }
}
