import http from 'node:http'
import { HUNG_AFTER_MS, START_GRACE_MS, Watchdog } from '@cliscale/service-kit'
import type { Address } from '../launcher.ts'

/** How often hosts are looked at, in milliseconds. */
export const PROBE_EVERY_MS = 2_000

/** Asks one host again and again whether its event loop turns. Any answer counts, and none is waited for. */
export class HostProbe {
  readonly #watchdog: Watchdog
  readonly #limitMs: number
  #request: http.ClientRequest | undefined
  #answered = false

  constructor(options: { everyMs?: number; limitMs?: number; graceMs?: number } = {}) {
    const { everyMs: tickMs = PROBE_EVERY_MS, limitMs = HUNG_AFTER_MS, graceMs = START_GRACE_MS } = options
    this.#limitMs = limitMs
    this.#watchdog = new Watchdog({ limitMs, tickMs, graceMs })
  }

  get hasAnswered(): boolean {
    return this.#answered
  }

  /**
   * To be called each `everyMs`; returns whether the host hangs. `address`: where it says that it listens, if it has.
   * `heldUpMs`: for how much of this time it waited for a processor.
   */
  look(address: Address | undefined, heldUpMs = 0): boolean {
    if (address !== undefined && this.#request === undefined) this.#ask(address)
    return this.#watchdog.tick(heldUpMs)
  }

  close(): void {
    this.#request?.destroy()
  }

  /** A question that nobody takes (the host is being started again) is asked anew with the next look. */
  #ask({ host, port }: Address): void {
    const request = http.get({ host, port, path: '/healthz', agent: false, timeout: this.#limitMs }, (answer) => {
      this.#hear()
      answer.resume()
    })
    this.#request = request
    request.on('timeout', () => request.destroy())
    request.on('error', (error: NodeJS.ErrnoException) => {
      // An answer too, if not of ours.
      if (error.code?.startsWith('HPE_')) this.#hear()
    })
    request.on('close', () => (this.#request = undefined))
  }

  #hear(): void {
    this.#answered = true
    this.#watchdog.beat()
  }
}
