import {
  encodeOutputTimes,
  MAX_OUTPUT_REPORT_BYTES,
  OUTPUT_HEADERS,
  OutputResponse,
  type SessionEvent,
} from '@cliscale/contract'
import { Backoff, type Logger } from '@cliscale/service-kit'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer, Call, ControllerClient } from './controller-client.ts'
import type { SessionTerminal, TimedChunk } from './terminal-types.ts'

const FLUSH_MS = 1000
const RETRY_MS = { min: 100, max: 10_000 }

export interface ReporterOptions {
  readonly client: Pick<ControllerClient, 'call'>
  readonly sessionId: string
  readonly credential: () => string
  /** Asks for a fresh credential after a 401; resolves to whether there is one. */
  readonly renewCredential: () => Promise<boolean>
  readonly terminal: Pick<SessionTerminal, 'head' | 'readOutput' | 'ended'>
  /** Every event so far, in order; grows at its end. */
  readonly events: readonly SessionEvent[]
  readonly logger: Logger
  readonly signal: AbortSignal
}

/**
 * Brings output and events to the controller, each in order and each repeated until it is confirmed, for as long as
 * the process lives. `ended` goes last, after all output that is kept.
 */
export class Reporter {
  /** Resolves when `ended` was delivered, or the controller no longer wants it. Never rejects. */
  readonly finished: Promise<void>
  private readonly options: ReporterOptions
  private waiting: (() => void)[] = []
  private next = 0
  /** Where a part of the output began that the controller did not take. */
  private refusedAt: number | undefined

  constructor(options: ReporterOptions) {
    this.options = options
    this.finished = this.run().catch((err: unknown) => {
      if (!options.signal.aborted) options.logger.error({ err }, 'the reporter failed')
    })
  }

  /** There is more output, or another event. */
  wake(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const resume of waiting) resume()
  }

  private async run(): Promise<void> {
    const output = this.reportOutput()
    output.catch(() => {}) // awaited below, when `ended` is due
    for (let index = 0; ; index++) {
      while (index >= this.options.events.length) await this.change()
      const event = this.options.events[index]!
      // A journal that cannot be read (a broken disk) must not keep how the session ended.
      if (event.type === 'ended') await output.catch((err: unknown) => this.outputFailed(err))
      await this.deliver({ path: 'events', json: event })
      if (event.type === 'ended') return
    }
  }

  private outputFailed(err: unknown): void {
    this.options.signal.throwIfAborted()
    this.options.logger.error({ err, from: this.next }, 'the output could not be reported')
  }

  private async reportOutput(): Promise<void> {
    const { terminal, logger } = this.options
    for (;;) {
      while (this.next >= terminal.head) {
        if (terminal.ended !== undefined) return
        await this.change()
      }
      await this.gather()
      const chunk = await terminal.readOutput(this.next, MAX_OUTPUT_REPORT_BYTES)
      // Beyond the spool's limit nothing is kept; what came before it was delivered.
      if (chunk === undefined) {
        logger.info({ from: this.next, head: terminal.head }, 'output is no longer kept')
        while (terminal.ended === undefined) await this.change()
        return
      }
      await this.deliverOutput(chunk)
      // It takes output in order only: without that part it takes no more, and asks for it for ever.
      if (this.next === this.refusedAt) {
        logger.error({ from: this.next, head: terminal.head }, 'output was refused, and is reported no further')
        return
      }
    }
  }

  /** Waits until a whole report is there or FLUSH_MS went by; not at all after the end. */
  private async gather(): Promise<void> {
    const { terminal } = this.options
    const limit = Date.now() + FLUSH_MS
    while (terminal.ended === undefined && terminal.head - this.next < MAX_OUTPUT_REPORT_BYTES) {
      const leftMs = limit - Date.now()
      if (leftMs <= 0) return
      const stop = new AbortController()
      await Promise.race([this.change(), sleep(leftMs, undefined, { signal: stop.signal }).catch(() => {})])
      stop.abort()
    }
  }

  private async deliverOutput(chunk: TimedChunk): Promise<void> {
    const backoff = new Backoff(RETRY_MS.min, RETRY_MS.max)
    for (;;) {
      const answer = await this.deliver({
        path: 'output',
        bytes: chunk.bytes,
        headers: {
          [OUTPUT_HEADERS.offset]: String(chunk.offset),
          [OUTPUT_HEADERS.columns]: String(chunk.size.columns),
          [OUTPUT_HEADERS.rows]: String(chunk.size.rows),
          [OUTPUT_HEADERS.times]: encodeOutputTimes(chunk.times),
        },
      })
      if (answer === undefined) this.refusedAt = chunk.offset
      const wanted = answer === undefined ? chunk.offset + chunk.bytes.length : parseNext(answer)
      if (wanted !== undefined && wanted !== chunk.offset) {
        // More than we have cannot be wanted; it would be another session's offset.
        this.next = Math.min(wanted, this.options.terminal.head)
        return
      }
      await backoff.wait(this.options.signal)
    }
  }

  /** The answer with status 2xx; undefined when the controller will never take it. */
  private async deliver(
    call: Pick<Call, 'json' | 'bytes' | 'headers'> & { path: string },
  ): Promise<Answer | undefined> {
    const { client, sessionId, logger, signal } = this.options
    const backoff = new Backoff(RETRY_MS.min, RETRY_MS.max)
    for (;;) {
      try {
        const path = `/internal/sessions/${sessionId}/${call.path}`
        const credential = this.options.credential()
        const answer = await client.call({ ...call, method: 'POST', path, credential, signal })
        if (answer.status >= 200 && answer.status < 300) return answer
        logger.warn({ status: answer.status, report: call.path }, 'a report was refused')
        if (await this.isFinal(answer.status)) return undefined
      } catch (error) {
        signal.throwIfAborted()
        logger.info({ code: (error as NodeJS.ErrnoException).code ?? (error as Error).name }, 'a report failed')
      }
      await backoff.wait(signal)
    }
  }

  /**
   * Whether a refusal will stay. A malformed report is dropped at once, so that it cannot hold up the others. A session
   * that the controller does not know (any more) is left only after the end: until then it may come back.
   */
  private async isFinal(status: number): Promise<boolean> {
    const { terminal } = this.options
    if (status === 401) return !(await this.options.renewCredential()) && terminal.ended !== undefined
    if (status === 404 || status === 409 || status === 410) return terminal.ended !== undefined
    return status === 400 || status === 413 || status === 415 || status === 422
  }

  /** Resolves at the next wake; rejects when the signal aborts. */
  private change(): Promise<void> {
    const { signal } = this.options
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error)
      const aborted = (): void => reject(signal.reason as Error)
      signal.addEventListener('abort', aborted, { once: true })
      this.waiting.push(() => {
        signal.removeEventListener('abort', aborted)
        resolve()
      })
    })
  }
}

function parseNext(answer: Answer): number | undefined {
  try {
    return OutputResponse.parse(JSON.parse(answer.text)).next
  } catch {
    return undefined
  }
}
