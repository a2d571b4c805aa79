import { CLOSE, isFinal, V1_PROTOCOL } from '@cliscale/contract'
import { isExpectedNetworkError, type Logger } from '@cliscale/service-kit'
import type { CloseCause, GatewayMetrics, OpenState } from '../metrics.ts'
import type { Grant, SessionState, Store } from '../store.ts'
import { dialPod } from './dial.ts'
import { closeFrame } from './frames.ts'
import type { HeldClient } from './held-client.ts'
import type { PodNetworks } from './pod-networks.ts'
import { replay } from './replay.ts'
import type { SessionHub } from './session-hub.ts'
import { type DialHint, type Protocol, statusFrame, statusOf } from './speaker.ts'
import { splice } from './splice.ts'

export interface AttachLimits {
  /** A viewer that waits hears something at least this often. */
  readonly statusMs: number
  /** For a pod's connection and its 101. */
  readonly dialMs: number
  /** For a client's first message, when the gateway itself speaks. */
  readonly helloMs: number
  /** After one side has ended, for the other to be done. */
  readonly lingerMs: number
  /** For a pod to take what its client sent, or to say something itself. */
  readonly stallMs: number
}

export interface AttachDeps {
  readonly store: Store
  readonly hub: SessionHub
  readonly podNetworks: PodNetworks
  readonly logger: Logger
  readonly limits: AttachLimits
  readonly metrics: GatewayMetrics
  readonly now: () => number
}

export type AttachState = OpenState | 'closed'

/** One for all: a DOMException with a stack for each terminal costs more than its token does. */
const OVER = new Error('the terminal is over')

/** Of what we say ourselves, a client may leave this much unread. */
const MAX_UNREAD_BYTES = 64 * 1024

/**
 * One viewer from its 101 to the end of its socket.
 *
 * - `waiting`: no pod yet; statuses are written, the hub says what changes. → dialling, replaying, closing
 * - `dialling`: the pod is asked; statuses go on. → spliced; waiting (no answer); replaying (no answer, and the
 *   session has ended); closing (the pod refuses)
 * - `spliced`: bytes are copied; the gateway writes nothing any more. → closed
 * - `replaying`: the host is gone; the stored output is written. → closing
 * - `closing`: our Close frame is out; the client may read it. → closed
 *
 * A client that goes leads to `closed` from everywhere.
 */
export class Attachment {
  readonly #deps: AttachDeps
  readonly #client: HeldClient
  readonly #grant: Grant
  readonly #protocol: Protocol
  readonly #abort = new AbortController()
  readonly #openedAt: number
  #state: AttachState = 'waiting'
  #session: SessionState
  /** Set once the terminal was asked in vain. */
  #dialHint: DialHint | undefined
  #lastStatus = ''
  #timer: NodeJS.Timeout | undefined
  #unwatch: (() => void) | undefined
  #endPod: (() => void) | undefined
  #podReadyMs: number | undefined
  #cause: CloseCause = 'client'
  /** Whoever closes first after that: it was us. */
  #isDrained = false

  constructor(deps: AttachDeps, options: { client: HeldClient; grant: Grant; protocol: Protocol }) {
    this.#deps = deps
    this.#client = options.client
    this.#grant = options.grant
    this.#protocol = options.protocol
    this.#session = options.grant.session
    this.#openedAt = deps.now()
  }

  get state(): AttachState {
    return this.#state
  }

  /** From the client so far, the request included. */
  get bytesIn(): number {
    return this.#client.socket.bytesRead
  }

  get bytesOut(): number {
    return this.#client.socket.bytesWritten
  }

  /** Begins after the 101 has been written. Resolves when the client's socket is closed; never rejects. */
  run(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#client.onGone(() => {
        this.#finish()
        resolve()
      })
    })
    this.#startTelling()
    this.#see(this.#session)
    return closed
  }

  /** Ends it in order: by the pod's Close where a pod speaks, else by ours. */
  drain(): void {
    this.#isDrained = true
    if (this.#state === 'spliced') this.#endPod?.()
    else this.#close(CLOSE.restart, 'the gateway restarts', 'drain')
  }

  destroy(): void {
    this.#client.socket.destroy()
  }

  #see(session: SessionState | undefined): void {
    if (session === undefined) {
      if (this.#state === 'waiting') this.#close(CLOSE.sessionGone, 'the session has been removed', 'session_gone')
      return
    }
    this.#session = session
    if (this.#state === 'waiting') {
      if (session.endpoint !== undefined) return void this.#dial(session.endpoint)
      if (isFinal(session.status)) return void this.#replay()
      this.#unwatch ??= this.#deps.hub.watch(session.id, (next) => this.#see(next))
      this.#tell()
    } else if (this.#state === 'dialling' && this.#dialHint !== undefined) this.#tell()
  }

  async #dial(endpoint: NonNullable<SessionState['endpoint']>): Promise<void> {
    if (!this.#deps.podNetworks.isAllowed(endpoint.address)) {
      this.#deps.logger.error({ sessionId: this.#session.id }, 'an endpoint is outside CLISCALE_POD_NETWORKS')
      return this.#close(CLOSE.internal, 'the terminal has an address that is not allowed', 'target_refused')
    }
    this.#state = 'dialling'
    const dialled = await dialPod({
      endpoint,
      protocol: this.#protocol,
      assertion: this.#session.kind === 'runner' ? this.#grant.assertion : undefined,
      deadlineMs: this.#deps.limits.dialMs,
      signal: this.#abort.signal,
    })
    if (this.#abort.signal.aborted) return void (dialled.kind === 'open' && dialled.socket.destroy())
    if (dialled.kind === 'open') return this.#splice(dialled.socket, dialled.rest)
    if (dialled.kind === 'unauthorized') return this.#close(CLOSE.token, 'the session refuses this viewer', 'pod_401')
    this.#deps.metrics.dialFailed(dialled.fault)
    this.#afterFailedDial(dialled.why)
  }

  #afterFailedDial(why: string): void {
    if (this.#dialHint === undefined)
      this.#deps.logger.info({ sessionId: this.#session.id, why }, 'the pod does not respond; waiting')
    // So does a session host answer that has no place; ttyd never does.
    this.#dialHint = why === '503' ? 'full' : 'silent'
    this.#state = 'waiting'
    if (isFinal(this.#session.status)) return void this.#replay()
    this.#tell()
    // The first look comes at once: the row may say by now that the session has ended or moved.
    this.#unwatch ??= this.#deps.hub.watch(this.#session.id, (next) => this.#see(next))
  }

  #splice(pod: Parameters<typeof splice>[1], rest: Buffer): void {
    this.#stopWaiting()
    this.#state = 'spliced'
    this.#podReadyMs = this.#deps.now() - this.#openedAt
    this.#deps.metrics.podReady(this.#podReadyMs / 1000)
    for (const chunk of this.#client.release()) pod.write(chunk)
    if (rest.length > 0) this.#client.socket.write(rest)
    const { lingerMs, stallMs } = this.#deps.limits
    const { endPod } = splice(this.#client.socket, pod, {
      lingerMs,
      stallMs,
      onClosed: (cause) => (this.#cause = cause),
    })
    this.#endPod = endPod
  }

  async #replay(): Promise<void> {
    this.#stopWaiting()
    this.#state = 'replaying'
    const { store, limits } = this.#deps
    try {
      const { code, reason } = await replay({
        store,
        client: this.#client,
        grant: this.#grant,
        state: this.#session,
        protocol: this.#protocol,
        helloMs: limits.helloMs,
        signal: this.#abort.signal,
      })
      this.#close(code, reason, 'replayed')
    } catch (err) {
      if (this.#abort.signal.aborted) return
      const isExpected = isExpectedNetworkError(err) || (err as { code?: string }).code === 'store_unavailable'
      this.#deps.logger[isExpected ? 'info' : 'error']({ err, sessionId: this.#session.id }, 'replay failed')
      this.#close(CLOSE.restart, 'the stored output cannot be read right now', 'replay_failed')
    }
  }

  #startTelling(): void {
    this.#timer = setTimeout(() => this.#tell(true), this.#deps.limits.statusMs)
  }

  /** Writes the status when it is news, or when it is time. Only whole frames, and none once a pod speaks. */
  #tell(isDue = false): void {
    if (this.#state !== 'waiting' && this.#state !== 'dialling') return
    const status = statusOf(this.#session, this.#dialHint)
    const text = JSON.stringify(status)
    if (!isDue && text === this.#lastStatus) return
    this.#lastStatus = text
    clearTimeout(this.#timer)
    if (this.#client.socket.writableLength > MAX_UNREAD_BYTES) return this.destroy()
    this.#client.socket.write(
      statusFrame(this.#protocol, { ...status, heartbeatMs: this.#deps.limits.statusMs }, this.#deps.now()),
    )
    this.#startTelling()
  }

  #close(code: number, reason: string, cause: CloseCause): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    this.#stopWaiting()
    this.#state = 'closing'
    this.#cause = cause
    this.#abort.abort(OVER)
    this.#client.socket.end(closeFrame(code, reason))
    this.#client.readWith(() => undefined)
    this.#timer = setTimeout(() => this.destroy(), this.#deps.limits.lingerMs)
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer)
    this.#unwatch?.()
    this.#unwatch = undefined
  }

  #finish(): void {
    this.#stopWaiting()
    const endedAs = this.#state
    this.#state = 'closed'
    this.#abort.abort(OVER)
    const cause = this.#isDrained ? 'drain' : this.#cause
    this.#deps.metrics.closed(cause)
    this.#deps.logger.info(
      {
        sessionId: this.#session.id,
        viewer: this.#grant.viewer,
        mode: this.#grant.mode,
        protocol: this.#protocol === V1_PROTOCOL ? 'v1' : 'tty',
        endedAs,
        cause,
        podReadyMs: this.#podReadyMs,
        durationMs: this.#deps.now() - this.#openedAt,
        bytesIn: this.bytesIn,
        bytesOut: this.bytesOut,
      },
      'terminal closed',
    )
  }
}
