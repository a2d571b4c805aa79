import http from 'node:http'
import { HUNG_AFTER_MS, Watchdog } from '@cliscale/service-kit'
import type { Address } from '../launcher.ts'

/** How often hosts are looked at, in milliseconds. */
export const PROBE_EVERY_MS = 2_000
/** How much longer a host's first answer may take: it reads its journal before it listens. */
const START_GRACE_MS = 45_000

/** Asks one host again and again whether its event loop turns. Any answer counts, and none is waited for. */
export class HostProbe {
  readonly #watchdog: Watchdog
  readonly #limitMs: number
  #request: http.ClientRequest | undefined

  constructor({ everyMs = PROBE_EVERY_MS, limitMs = HUNG_AFTER_MS }: { everyMs?: number; limitMs?: number } = {}) {
    this.#limitMs = limitMs
    this.#watchdog = new Watchdog({ limitMs, tickMs: everyMs, graceMs: START_GRACE_MS })
  }

  /** To be called each `everyMs`; returns whether the host hangs. `address`: where it says that it listens, if it has. */
  look(address: Address | undefined): boolean {
    if (address !== undefined && this.#request === undefined) this.#ask(address)
    return this.#watchdog.tick()
  }

  close(): void {
    this.#request?.destroy()
  }

  /** A question that nobody takes (the host is being started again) is asked anew with the next look. */
  #ask({ host, port }: Address): void {
    const request = http.get({ host, port, path: '/healthz', agent: false, timeout: this.#limitMs }, (answer) => {
      this.#watchdog.beat()
      answer.resume()
    })
    this.#request = request
    request.on('timeout', () => request.destroy())
    request.on('error', (error: NodeJS.ErrnoException) => {
      // An answer too, if not of ours.
      if (error.code?.startsWith('HPE_')) this.#watchdog.beat()
    })
    request.on('close', () => (this.#request = undefined))
  }
}
