import type http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Backoff, type Logger, withDeadline } from '@cliscale/service-kit'
import { ApiRefusal, askedToWaitMs, type KubernetesApi } from './api.ts'
import type { KubernetesObject } from './objects.ts'
import { LauncherUnavailable } from '../launcher.ts'

export interface WatchOptions<T extends KubernetesObject> {
  readonly api: KubernetesApi
  /** Path of the collection. */
  readonly path: string
  /** Which of them: `labelSelector` or `fieldSelector`. */
  readonly selector: Readonly<Record<string, string>>
  /** Word for logs, such as `pods`. */
  readonly resource: string
  /** Makes what is kept of an object; undefined when nothing is. It may throw for one that can't be used. */
  readonly keep: (object: unknown) => T | undefined
  /** It is done without when the API server does not allow it. */
  readonly isOptional?: boolean
  /** Something came, changed or went. */
  readonly onChange: () => void
  /** The last that was known of an object that is gone now. */
  readonly onGone?: (object: T) => void
  readonly logger: Logger
  readonly timings?: Partial<WatchTimings>
}

export interface WatchTimings {
  /** Without an event or a bookmark for so long, a watch counts as dead. The API server sends a bookmark each minute. */
  readonly silenceMs: number
  /** How long a watch lasts before everything is listed again. */
  readonly relistMs: number
  /** The first wait after a failure; it doubles up to the longest one. Waits are jittered by half. */
  readonly firstWaitMs: number
  readonly longestWaitMs: number
}

const TIMINGS: WatchTimings = { silenceMs: 75_000, relistMs: 300_000, firstWaitMs: 500, longestWaitMs: 10_000 }
/** Rights are granted seldom, but a release's own may come a moment after its processes. */
const FORBIDDEN_WAIT_MS = 60_000
const PAGE = '500'
const MAX_LINE_BYTES = 16 * 2 ** 20

export interface WatchStats {
  /** Since the last sign of life: an event, a bookmark or a list. Infinity before the first. */
  readonly silentMs: number
  /** How often everything was listed. */
  readonly relists: number
}

/**
 * What exists of one resource, kept by list and watch. States: `listing` → `watching` → (planned end) → `listing`;
 * from either to `waiting` on a fault, then `listing` again. Every fault leads to a new list, so nothing that was missed
 * stays missed; waits are jittered and doubled, so that there is no storm.
 */
export class ResourceWatch<T extends KubernetesObject> {
  readonly #options: WatchOptions<T>
  readonly #timings: WatchTimings
  readonly #closing = new AbortController()
  #objects = new Map<string, T>()
  /** When an object was put here that no list or event had brought. */
  readonly #put = new Map<string, number>()
  #round = new AbortController()
  #signAt = -Infinity
  #listBeganAt = -Infinity
  #lists = 0
  #waiters: { readonly since: number; readonly resolve: () => void }[] = []
  #running: Promise<void> = Promise.resolve()

  constructor(options: WatchOptions<T>) {
    this.#options = options
    this.#timings = { ...TIMINGS, ...options.timings }
  }

  start(): void {
    this.#running = this.#run()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  /** By uid. Empty before the first list. */
  get objects(): ReadonlyMap<string, T> {
    return this.#objects
  }

  get isSynced(): boolean {
    return this.#lists > 0
  }

  get stats(): WatchStats {
    return { silentMs: performance.now() - this.#signAt, relists: this.#lists }
  }

  /** Adds what a call of ours has made: the watch may bring it later. */
  put(object: T): void {
    if (this.#objects.has(object.metadata.uid)) return
    this.#objects.set(object.metadata.uid, object)
    this.#put.set(object.metadata.uid, performance.now())
  }

  /**
   * Resolves when a list is there that was begun after `since` (of `performance.now()`).
   *
   * @throws LauncherUnavailable when that takes longer than `limitMs`.
   */
  async listedSince(since: number, limitMs: number): Promise<void> {
    if (this.#lists > 0 && this.#listBeganAt >= since) return
    const listed = new Promise<void>((resolve) => this.#waiters.push({ since, resolve }))
    const sentence = `the cluster’s ${this.#options.resource} could not be listed in time`
    await withDeadline(listed, limitMs, () => new LauncherUnavailable(sentence))
  }

  /** Lists everything again, now. */
  relist(): void {
    this.#round.abort()
  }

  async #run(): Promise<void> {
    const { firstWaitMs, longestWaitMs } = this.#timings
    const backoff = new Backoff(firstWaitMs, longestWaitMs)
    let failures = 0
    while (!this.#closing.signal.aborted) {
      this.#round = new AbortController()
      const signal = AbortSignal.any([this.#closing.signal, this.#round.signal])
      const beganAt = performance.now()
      const end = await this.#follow(signal)
      if (this.#closing.signal.aborted) return
      // One that lasted was well; what breaks again and again waits longer and longer.
      if (end === 'planned' || performance.now() - beganAt > 30_000) {
        failures = 0
        backoff.reset()
      }
      // Who asks for a list gets it at once; see the caller for how often that may be.
      if (end === 'planned' || this.#round.signal.aborted) continue
      failures++
      await this.#wait(failures, end, backoff)
    }
  }

  async #wait(failures: number, err: unknown, backoff: Backoff): Promise<void> {
    if (this.#options.isOptional && err instanceof ApiRefusal && err.status === 403) {
      if (failures === 1)
        this.#options.logger.warn({ why: err.message }, 'a watch of the cluster is not available; polling')
      return this.#sleep(FORBIDDEN_WAIT_MS)
    }
    const waitMs = Math.max(backoff.nextMs(), askedToWaitMs(err) ?? 0)
    const { logger, resource } = this.#options
    const why = err instanceof Error ? err.message : String(err)
    const details = { resource, why, failures, waitMs: Math.round(waitMs) }
    const isRefused = err instanceof ApiRefusal && err.status !== 410
    if (failures === 1 || failures % 10 === 0)
      logger[isRefused ? 'error' : 'info'](details, 'a watch of the cluster begins again')
    await this.#sleep(waitMs)
  }

  async #sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined)
  }

  /** One list and its watch. Resolves to `planned`, or to the fault that ended it. */
  async #follow(signal: AbortSignal): Promise<unknown> {
    try {
      const resourceVersion = await this.#list()
      return await this.#watch(resourceVersion, signal)
    } catch (err) {
      return err
    }
  }

  async #list(): Promise<string> {
    const { api, path, selector } = this.#options
    const beganAt = performance.now()
    const found = new Map<string, T>()
    let next: string | undefined
    for (;;) {
      const query = { ...selector, limit: PAGE, ...(next !== undefined && { continue: next }) }
      const page = (await api.call({ method: 'GET', path, query })) as ListPage
      for (const item of page.items ?? []) this.#keep(found, item)
      next = page.metadata?.continue || undefined
      const version = page.metadata?.resourceVersion
      if (next === undefined) {
        if (version === undefined) throw new Error('a list without a resource version')
        this.#replace(found, beganAt)
        return version
      }
    }
  }

  #keep(map: Map<string, T>, object: unknown): void {
    try {
      const kept = this.#options.keep(object)
      if (kept !== undefined) map.set(kept.metadata.uid, kept)
    } catch (err) {
      // One object that can't be read does not hide the others.
      this.#options.logger.error(
        { err, resource: this.#options.resource },
        'an object of the cluster could not be read',
      )
    }
  }

  #replace(found: Map<string, T>, beganAt: number): void {
    const gone: T[] = []
    for (const [uid, object] of this.#objects) {
      if (found.has(uid)) continue
      if ((this.#put.get(uid) ?? -Infinity) >= beganAt) found.set(uid, object)
      else gone.push(object)
    }
    for (const uid of this.#put.keys()) if ((this.#put.get(uid) ?? 0) < beganAt) this.#put.delete(uid)
    this.#objects = found
    this.#lists++
    this.#listBeganAt = beganAt
    this.#signAt = performance.now()
    for (const object of gone) this.#options.onGone?.(object)
    const [due, rest] = [
      this.#waiters.filter((one) => one.since <= beganAt),
      this.#waiters.filter((one) => one.since > beganAt),
    ]
    this.#waiters = rest
    for (const { resolve } of due) resolve()
    this.#options.onChange()
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<'planned'> {
    const { api, path, selector } = this.#options
    const timeoutSeconds = Math.ceil((this.#timings.relistMs / 1000) * (0.8 + Math.random() / 5))
    const beganAt = performance.now()
    const query = {
      ...selector,
      watch: 'true',
      resourceVersion,
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(timeoutSeconds),
    }
    const silence = new AbortController()
    const response = await api.open({ method: 'GET', path, query }, AbortSignal.any([signal, silence.signal]))
    const timer = setInterval(
      () => {
        if (performance.now() - this.#signAt > this.#timings.silenceMs) silence.abort()
      },
      Math.min(1000, this.#timings.silenceMs / 4),
    )
    try {
      this.#signAt = performance.now()
      await this.#readEvents(response)
    } catch (err) {
      if (silence.signal.aborted) throw new Error('the watch was silent for too long', { cause: err })
      throw err
    } finally {
      clearInterval(timer)
      response.destroy()
    }
    if (performance.now() - beganAt < (timeoutSeconds - 2) * 1000) throw new Error('the watch ended early')
    return 'planned'
  }

  async #readEvents(response: http.IncomingMessage): Promise<void> {
    let rest: Buffer[] = []
    let restBytes = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      let from = 0
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
        const line = Buffer.concat([...rest, chunk.subarray(from, end)]).toString('utf8')
        rest = []
        restBytes = 0
        from = end + 1
        if (line.trim() !== '') this.#apply(JSON.parse(line) as WatchEvent)
      }
      if (from < chunk.length) rest.push(chunk.subarray(from))
      restBytes += chunk.length - from
      if (restBytes > MAX_LINE_BYTES) throw new Error('an event of the watch is too long')
    }
  }

  #apply({ type, object }: WatchEvent): void {
    this.#signAt = performance.now()
    if (type === 'BOOKMARK') return
    // 410 is the usual one: what came after our list is not kept any more.
    if (type === 'ERROR') throw new ApiRefusal((object as { code?: number }).code ?? 500, object, undefined)
    if (type === 'DELETED') {
      const { uid } = (object as KubernetesObject).metadata
      const gone = new Map<string, T>()
      this.#keep(gone, object)
      this.#put.delete(uid)
      const last = gone.get(uid) ?? this.#objects.get(uid)
      this.#objects.delete(uid)
      if (last !== undefined) this.#options.onGone?.(last)
    } else if (type === 'ADDED' || type === 'MODIFIED') {
      this.#keep(this.#objects, object)
      this.#put.delete((object as KubernetesObject).metadata.uid)
    }
    this.#options.onChange()
  }
}

interface ListPage {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string }
  readonly items?: readonly unknown[]
}

interface WatchEvent {
  readonly type: string
  readonly object: unknown
}
