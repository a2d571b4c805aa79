import { END_LIMITS, POD_LIMITS, type Reason, STOP_LIMITS } from '@cliscale/contract'
import { isStoreUnavailable, type Logger } from '@cliscale/service-kit'
import type pg from 'pg'
import type { BackendName, Launched, Launcher, LaunchRequest } from '../launch/launcher.ts'
import { type ControllerMetrics, NO_METRICS } from '../metrics.ts'
import { takeQueued } from '../sessions/lifecycle.ts'
import { findEndAges, findOpenSessions, type OpenSession } from '../sessions/open-sessions.ts'
import { LaunchAttempts } from './launch-attempts.ts'
import { type CheckTimings, SessionChecks } from './session-checks.ts'
import { stopAll } from './stop-all.ts'

export interface ReconcilerDeps {
  readonly pool: pg.Pool
  /** It looks after the sessions whose rows name this backend, and no others. */
  readonly backend: BackendName
  readonly launcher: Launcher
  readonly logger: Logger
  /** How long a session may wait to be claimed. */
  readonly queueLimitSeconds: number
  /** How long an ended session is kept. */
  readonly retentionSeconds: number
  /** Removes a batch of expired rows of any kind; how many. Called outside of requests, again at once while it finds any. */
  readonly prune: () => Promise<number>
  readonly timings?: Partial<ReconcilerTimings>
  readonly metrics?: ControllerMetrics
}

export interface ReconcilerTimings extends CheckTimings {
  /** Between two passes when nothing wakes it. */
  readonly everyMs: number
  /** How long a launch may stay after its session's end: viewers are still being told. */
  readonly lingerSeconds: number
  /** How long a launch without a row must have been so before it is removed. */
  readonly rowlessMs: number
  readonly pruneEveryMs: number
}

const TIMINGS: ReconcilerTimings = {
  everyMs: 2_000,
  stopLimitMs: STOP_LIMITS.clusterMs,
  overdueSeconds: 3_600,
  patienceMs: 30_000,
  lostGraceMs: 5_000,
  faultGraceMs: POD_LIMITS.graceSeconds * 1000 + 30_000,
  nodeLostGraceMs: 20_000,
  pullLimitMs: 120_000,
  lingerSeconds: END_LIMITS.lingerSeconds,
  rowlessMs: 20_000,
  launchSeconds: 10,
  pruneEveryMs: 60_000,
}
const LAUNCHES_AT_ONCE = 4
const PRUNE_BATCHES = 50
const MIN_PASS_MS = 100
const CHECKS_AT_ONCE = 4
/** After so many checks that the database did not take, the rest of a pass is left for the next. */
const MAX_STORE_FAULTS = 3

/** Makes what runs agree with what is written, and the other way round. */
export interface Reconciler {
  start(): void
  /** Start a pass now: a session was created or is to stop. Returns at once, and may be called before `start`. */
  wake(): void
  /**
   * Ends all sessions as `stopped` with this reason: hosts get a moment to end them, then everything is killed. It
   * launches nothing any more. Resolves within about `limitMs`, also when the database is away.
   */
  stopAll(reason: Reason, limitMs: number): Promise<void>
  /** Stops, and waits for the pass that is under way. Sessions go on. */
  close(): Promise<void>
}

/**
 * A reconciler of one backend; several processes may each have one. A pass that fails (the database is away, say) changes
 * nothing and is repeated; what a pass does may be repeated.
 */
export function createReconciler(deps: ReconcilerDeps): Reconciler {
  return new LoopingReconciler(deps)
}

class LoopingReconciler implements Reconciler {
  readonly #deps: ReconcilerDeps
  readonly #timings: ReconcilerTimings
  readonly #metrics: ControllerMetrics
  readonly #attempts = new LaunchAttempts()
  readonly #checks: SessionChecks
  /** Since when launches are seen whose session has no row. */
  #rowless = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #unsubscribe: () => void = () => undefined
  #state: 'idle' | 'started' | 'closed' = 'idle'
  #running: Promise<void> | undefined
  #woken = false
  #failing = false
  #nextPrune = 0

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps
    this.#timings = { ...TIMINGS, ...deps.timings }
    this.#metrics = deps.metrics ?? NO_METRICS
    this.#checks = new SessionChecks({
      ...deps,
      metrics: this.#metrics,
      timings: this.#timings,
      attempts: this.#attempts,
      launch: (request) => this.#launch(request),
    })
  }

  start(): void {
    if (this.#state !== 'idle') return
    this.#state = 'started'
    this.#checks.begin()
    this.#unsubscribe = this.#deps.launcher.onChange(() => this.wake())
    this.wake()
  }

  wake(): void {
    if (this.#state !== 'started') return
    this.#woken = true
    // After a failure a wake does not shorten the wait: no busy loop against a database that is away.
    if (this.#running === undefined && !this.#failing) this.#run()
  }

  async stopAll(reason: Reason, limitMs: number): Promise<void> {
    await this.close()
    await stopAll(this.#deps, reason, limitMs)
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    this.#unsubscribe()
    clearTimeout(this.#timer)
    await this.#running
  }

  #run(): void {
    clearTimeout(this.#timer)
    this.#woken = false
    const startedAt = performance.now()
    this.#running = this.#pass().then((ok) => {
      this.#metrics.passed(this.#deps.backend, { seconds: (performance.now() - startedAt) / 1000, isOk: ok })
      this.#running = undefined
      if (this.#state !== 'started') return
      if (this.#woken && ok) return this.#run()
      this.#timer = setTimeout(() => this.#run(), this.#nextPassMs())
    })
  }

  /** Sooner for a launch or a stop that is due, but never so soon that many of those keep the database busy. */
  #nextPassMs(): number {
    const { everyMs } = this.#timings
    const dueMs = Math.min(this.#attempts.nextAfterMs(everyMs), this.#checks.dueInMs)
    return Math.max(dueMs, Math.min(everyMs, MIN_PASS_MS))
  }

  async #pass(): Promise<boolean> {
    try {
      await this.#launchQueued()
      await this.#compare()
      await this.#prune()
      if (this.#failing) this.#deps.logger.info('reconciling again')
      this.#failing = false
      return true
    } catch (err) {
      if (!isStoreUnavailable(err)) this.#deps.logger.error({ err }, 'reconciling failed')
      else if (!this.#failing)
        this.#deps.logger.warn({ code: (err as { code?: string }).code }, 'reconciling waits for the database')
      this.#failing = true
      return false
    }
  }

  async #launchQueued(): Promise<void> {
    const options = { limit: LAUNCHES_AT_ONCE, maxAgeSeconds: this.#deps.queueLimitSeconds }
    // While the launcher is away the rest stays queued.
    while (this.#state !== 'closed' && !this.#attempts.paused) {
      const requests = await takeQueued(this.#deps.pool, this.#deps.backend, options)
      await Promise.all(requests.map((request) => this.#launch(request)))
      if (requests.length < LAUNCHES_AT_ONCE) return
    }
  }

  async #launch(request: LaunchRequest): Promise<void> {
    const id = request.sessionId
    if (!this.#attempts.mayTry(id)) return
    const { launcher, logger } = this.#deps
    try {
      await launcher.launch(request)
      this.#attempts.tried(id)
    } catch (err) {
      if ((err as Error).name === 'LauncherUnavailable') return this.#postpone(id, err as Error)
      const left = this.#attempts.tried(id)
      logger.warn({ err, sessionId: id, attemptsLeft: left }, 'launch failed')
      if (left > 0) return
      const isDiskFull = (err as { code?: string }).code === 'ENOSPC'
      const reason = isDiskFull ? 'disk_full' : 'launch_failed'
      // Other errors are words of the machine, not for a person.
      const detail = (err as Error).name === 'LaunchRefused' ? (err as Error).message : null
      await this.#checks.end(id, { status: 'failed', reason, detail, unclaimedOnly: true })
    }
  }

  async #postpone(id: string, err: Error): Promise<void> {
    this.#attempts.postponed(id)
    this.#deps.logger.warn({ sessionId: id, why: err.message }, 'launch waits: the launcher is not available')
    const detail = `The session cannot be launched yet: ${err.message}.`
    await this.#checks.noteWait({ id, wait: null }, { reason: 'launch_failed', detail })
  }

  async #compare(): Promise<void> {
    const { backend, pool } = this.#deps
    const open = await findOpenSessions(pool, backend)
    this.#metrics.saw(
      backend,
      open.map((session) => session.status),
    )
    const ids = new Set(open.map((session) => session.id))
    this.#attempts.forgetAllBut(ids)
    this.#checks.beginPass(ids)
    // Listed after it was read: what is open and was launched before is in the list.
    const listed = await this.#list().catch(async (err: unknown) => {
      for (const session of open) await this.#checks.checkBlindly(session)
      throw err
    })
    await this.#checkAll(open, listed)
    for (const { id } of open) listed.delete(id)
    await this.#removeOrphans(listed)
  }

  /** A few at once; one that fails does not keep the others from being looked after. */
  async #checkAll(open: readonly OpenSession[], listed: ReadonlyMap<string, readonly Launched[]>): Promise<void> {
    const waiting = [...open]
    const storeFaults: unknown[] = []
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        if (storeFaults.length >= MAX_STORE_FAULTS || this.#state === 'closed') return
        await this.#checks.check(next, listed.get(next.id) ?? []).catch((err: unknown) => {
          if (isStoreUnavailable(err)) storeFaults.push(err)
          else this.#deps.logger.error({ err, sessionId: next?.id }, 'a session could not be checked')
        })
      }
    }
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, work))
    if (storeFaults.length > 0) throw storeFaults[0]
  }

  async #list(): Promise<Map<string, Launched[]>> {
    const groups = new Map<string, Launched[]>()
    const waits: Reason[] = []
    for (const entry of await this.#deps.launcher.list()) {
      const id = entry.sessionId
      // One that waits for its session is the launcher's own.
      if (id === undefined) continue
      groups.set(id, [...(groups.get(id) ?? []), entry])
      if (entry.wait) waits.push(entry.wait.reason)
    }
    this.#metrics.sawWaits(this.#deps.backend, waits)
    return groups
  }

  /**
   * Launches of sessions that are not open. After the end they may linger, unless nothing of them runs any more. A session
   * is written before it is launched, so one without a row has none any more; it has to be so in two passes all the same.
   * What is open with another backend is not this one's to judge, and stays.
   */
  async #removeOrphans(launches: ReadonlyMap<string, readonly Launched[]>): Promise<void> {
    const ages = await findEndAges(this.#deps.pool, [...launches.keys()])
    const rowless = new Map<string, number>()
    for (const [id, entries] of launches) {
      const age = ages.get(id)
      if (age === undefined) rowless.set(id, this.#rowless.get(id) ?? Date.now())
      if (age === undefined && Date.now() - rowless.get(id)! < this.#timings.rowlessMs) continue
      // What has ended is cleared away; what runs should not be there.
      const isOver = age?.isFinal === true && entries.every((entry) => entry.progress === 'ended')
      const isOrphan = !isOver && (age === undefined || age.seconds > this.#timings.lingerSeconds)
      if ((isOver || isOrphan) && (await this.#checks.remove(id)) && isOrphan) this.#metrics.orphanRemoved()
    }
    this.#rowless = rowless
  }

  async #prune(): Promise<void> {
    if (Date.now() < this.#nextPrune) return
    this.#nextPrune = Date.now() + this.#timings.pruneEveryMs
    for (let batch = 0; batch < PRUNE_BATCHES && this.#state === 'started'; batch++) {
      if ((await this.#deps.prune()) === 0) return
    }
    // More is waiting: it goes on at the next pass.
    this.#nextPrune = 0
  }
}
