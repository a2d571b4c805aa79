import type { Reason } from '@cliscale/contract'
import { isStoreUnavailable, type Logger } from '@cliscale/service-kit'
import type pg from 'pg'
import type { Identified, Launched, Launcher, LaunchRequest } from '../launch/launcher.ts'
import { upsertEndpoint } from '../internal/store.ts'
import { LaunchAttempts } from './launch-attempts.ts'
import { stopAll } from './stop-all.ts'
import {
  deleteEndpoint,
  type Ending,
  endSession,
  findEndAges,
  findOpenSessions,
  launchRequest,
  type OpenSession,
  takeQueued,
} from './store.ts'

export interface ReconcilerDeps {
  readonly pool: pg.Pool
  readonly launcher: Launcher
  readonly logger: Logger
  /** How long a session may wait to be claimed. */
  readonly queueLimitSeconds: number
  /** How long an ended session is kept. */
  readonly retentionSeconds: number
  /** Removes a batch of expired rows of any kind; how many. Called outside of requests, again at once while it finds any. */
  readonly prune: () => Promise<number>
  readonly timings?: Partial<ReconcilerTimings>
}

export interface ReconcilerTimings {
  /** Between two looks when nothing kicks. */
  readonly everyMs: number
  /** Between a stop request and the removal of a session whose host did not end it. */
  readonly stopGraceSeconds: number
  /** What a claimed session may take beyond its timeout: fetch, install, reports. Then its host is stuck. */
  readonly overdueSeconds: number
  /** Before this process ends what others left undone: a host that could not report meanwhile comes first. */
  readonly patienceMs: number
  /** Between the disappearance of a claimed session's processes and its end as lost: a host's last report may be on its way. */
  readonly lostGraceMs: number
  /** How long processes may stay after their session's end: viewers are still being told. */
  readonly lingerSeconds: number
  /** How long a launch by another process may take before this one makes it too (launches are idempotent). */
  readonly launchSeconds: number
  readonly pruneEveryMs: number
}

const TIMINGS: ReconcilerTimings = {
  everyMs: 2_000,
  // The host kills after 10 s and gives work up after 25 s; then it still has output to report.
  stopGraceSeconds: 30,
  overdueSeconds: 3_600,
  patienceMs: 30_000,
  lostGraceMs: 5_000,
  lingerSeconds: 90,
  launchSeconds: 10,
  pruneEveryMs: 60_000,
}
const LAUNCHES_AT_ONCE = 4
const PRUNE_BATCHES = 50

/** Makes what runs agree with what is written, and the other way round. */
export interface Reconciler {
  start(): void
  /** Look now: a session was created or is to stop. Returns at once, and may be called before `start`. */
  kick(): void
  /**
   * Ends all sessions as `stopped` with this reason: hosts get a moment to end them, then everything is killed. It
   * launches nothing any more. Resolves within about `limitMs`, also when the database is away.
   */
  stopAll(reason: Reason, limitMs?: number): Promise<void>
  /** Stops looking, and waits for the look that is under way. Sessions go on. */
  close(): Promise<void>
}

/**
 * A reconciler; several processes may each have one. A look that fails (the database is away, say) changes nothing and
 * is repeated; what a look does may be repeated.
 */
export function createReconciler(deps: ReconcilerDeps): Reconciler {
  return new LoopingReconciler(deps)
}

class LoopingReconciler implements Reconciler {
  readonly #deps: ReconcilerDeps
  readonly #timings: ReconcilerTimings
  readonly #attempts = new LaunchAttempts()
  /** When a claimed session's processes were first missed. */
  readonly #missing = new Map<string, number>()
  /** Processes whose session has no row, seen once. */
  #rowless = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #unsubscribe: () => void = () => undefined
  #state: 'idle' | 'started' | 'closed' = 'idle'
  #running: Promise<void> | undefined
  #kicked = false
  #failing = false
  #nextPrune = 0
  #startedAt = 0

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps
    this.#timings = { ...TIMINGS, ...deps.timings }
  }

  start(): void {
    if (this.#state !== 'idle') return
    this.#state = 'started'
    this.#startedAt = Date.now()
    this.#unsubscribe = this.#deps.launcher.onChange(() => this.kick())
    this.kick()
  }

  kick(): void {
    if (this.#state !== 'started') return
    this.#kicked = true
    // After a failure a kick does not shorten the wait: no busy loop against a database that is away.
    if (this.#running === undefined && !this.#failing) this.#run()
  }

  async stopAll(reason: Reason, limitMs = 10_000): Promise<void> {
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
    this.#kicked = false
    this.#running = this.#look().then((ok) => {
      this.#running = undefined
      if (this.#state !== 'started') return
      if (this.#kicked && ok) return this.#run()
      this.#timer = setTimeout(() => this.#run(), this.#attempts.nextAfterMs(this.#timings.everyMs))
    })
  }

  async #look(): Promise<boolean> {
    try {
      await this.#launchQueued()
      await this.#compare()
      await this.#prune()
      if (this.#failing) this.#deps.logger.info('reconciling again')
      this.#failing = false
      return true
    } catch (err) {
      if (!isStoreUnavailable(err)) this.#deps.logger.error({ err }, 'reconciling failed')
      else if (!this.#failing) this.#deps.logger.warn({ code: (err as { code?: string }).code }, 'reconciling waits')
      this.#failing = true
      return false
    }
  }

  async #launchQueued(): Promise<void> {
    for (;;) {
      const requests = await takeQueued(this.#deps.pool, LAUNCHES_AT_ONCE)
      await Promise.all(requests.map((request) => this.#launch(request)))
      if (requests.length < LAUNCHES_AT_ONCE || this.#state === 'closed') return
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
      const left = this.#attempts.tried(id)
      logger.warn({ err, sessionId: id, attemptsLeft: left }, 'launch failed')
      if (left > 0) return
      const isDiskFull = (err as { code?: string }).code === 'ENOSPC'
      await this.#end(id, { status: 'failed', reason: isDiskFull ? 'disk_full' : 'launch_failed', unclaimedOnly: true })
    }
  }

  async #compare(): Promise<void> {
    const open = await findOpenSessions(this.#deps.pool)
    // Listed after it was read: what is open and was launched before is in the list.
    const listed = groupBySession(await this.#deps.launcher.list())
    this.#forgetAllBut(open)
    for (const session of open) {
      await this.#compareOne(session, listed.get(session.id) ?? [])
      listed.delete(session.id)
    }
    await this.#removeOrphans([...listed.values()].flat())
  }

  async #compareOne(session: OpenSession, launches: readonly Launched[]): Promise<void> {
    if (session.podUid === null) return this.#compareUnclaimed(session, launches)
    const ours = launches.filter(isIdentified).find((entry) => entry.podUid === session.podUid)
    for (const loser of launches) {
      if (loser !== ours && loser.podUid !== undefined) await this.#remove(session.id, loser.podUid)
    }
    if (await this.#endOverdue(session)) return
    const { lostGraceMs } = this.#timings
    if (ours !== undefined) {
      this.#missing.delete(session.id)
      return this.#writeEndpoint(session, ours)
    }
    const since = this.#missing.get(session.id) ?? Date.now()
    this.#missing.set(session.id, since)
    if (Date.now() - since < lostGraceMs) return
    const stopped = session.stopRequestedAt !== null
    await this.#end(
      session.id,
      stopped ? { status: 'stopped', reason: 'stopped_by_user' } : { status: 'lost', reason: 'runner_lost' },
    )
  }

  /** A claimed session whose host did not end it when it should have. Returns whether it is one. */
  async #endOverdue(session: OpenSession): Promise<boolean> {
    const { stopGraceSeconds, overdueSeconds, patienceMs } = this.#timings
    if (Date.now() - this.#startedAt < patienceMs) return false
    const isStopped = (session.stopAgeSeconds ?? 0) > stopGraceSeconds
    if (!isStopped && (session.claimAgeSeconds ?? 0) <= session.timeoutSeconds + overdueSeconds) return false
    if (!(await this.#remove(session.id))) return true
    await this.#end(
      session.id,
      isStopped ? { status: 'stopped', reason: 'stopped_by_user' } : { status: 'lost', reason: 'runner_lost' },
    )
    return true
  }

  async #compareUnclaimed(session: OpenSession, launches: readonly Launched[]): Promise<void> {
    const unclaimedOnly = true
    const ended =
      session.stopRequestedAt !== null
        ? await this.#end(session.id, { status: 'stopped', reason: 'stopped_by_user', unclaimedOnly })
        : session.ageSeconds > this.#deps.queueLimitSeconds &&
          (await this.#end(session.id, { status: 'failed', reason: 'queue_deadline', unclaimedOnly }))
    if (ended) {
      if (launches.length > 0) await this.#remove(session.id)
      return
    }
    if (launches.length > 0 || session.status === 'queued') return
    // Marked by us or by a process that is gone; or it ran and ended without a claim.
    const oursToTry = this.#attempts.knows(session.id)
    if (!oursToTry && (session.launchAgeSeconds ?? Infinity) < this.#timings.launchSeconds) return
    if (!this.#attempts.exhausted(session.id)) return this.#launch(launchRequest(session))
    await this.#end(session.id, { status: 'failed', reason: 'launch_failed', unclaimedOnly })
  }

  async #writeEndpoint(session: OpenSession, launched: Identified): Promise<void> {
    const { endpoint } = session
    const { address } = launched
    if (address === undefined) {
      if (endpoint !== null) await deleteEndpoint(this.#deps.pool, launched)
      return
    }
    const same =
      endpoint?.host === address.host && endpoint.port === address.port && endpoint.podUid === launched.podUid
    if (!same) await upsertEndpoint(this.#deps.pool, launched)
  }

  /** Launches of sessions that are not open: they may linger after the end; without a row they are seen twice first. */
  async #removeOrphans(launches: readonly Launched[]): Promise<void> {
    const ids = [...new Set(launches.map((entry) => entry.sessionId))]
    const ages = await findEndAges(this.#deps.pool, ids)
    const rowless = new Set<string>()
    for (const id of ids) {
      const age = ages.get(id)
      if (age === undefined && !this.#rowless.has(id)) rowless.add(id)
      else if (age === undefined || age > this.#timings.lingerSeconds) await this.#remove(id)
    }
    this.#rowless = rowless
  }

  async #remove(sessionId: string, podUid?: string): Promise<boolean> {
    try {
      await this.#deps.launcher.remove(sessionId, podUid)
      return true
    } catch (err) {
      this.#deps.logger.error({ err, sessionId }, 'session could not be removed')
      return false
    }
  }

  async #end(id: string, ending: Ending): Promise<boolean> {
    const ended = await endSession(this.#deps.pool, id, ending, this.#deps.retentionSeconds)
    if (ended) {
      this.#attempts.forget(id)
      this.#deps.logger.info({ sessionId: id, status: ending.status, reason: ending.reason }, 'session ended')
    }
    return ended
  }

  #forgetAllBut(open: readonly OpenSession[]): void {
    const ids = new Set(open.map((session) => session.id))
    this.#attempts.forgetAllBut(ids)
    for (const id of this.#missing.keys()) if (!ids.has(id)) this.#missing.delete(id)
  }

  async #prune(): Promise<void> {
    if (Date.now() < this.#nextPrune) return
    this.#nextPrune = Date.now() + this.#timings.pruneEveryMs
    for (let batch = 0; batch < PRUNE_BATCHES && this.#state === 'started'; batch++) {
      if ((await this.#deps.prune()) === 0) return
    }
    // More is waiting: it goes on at the next look.
    this.#nextPrune = 0
  }
}

function isIdentified(launched: Launched): launched is Identified {
  return launched.podUid !== undefined
}

function groupBySession(launches: readonly Launched[]): Map<string, Launched[]> {
  const groups = new Map<string, Launched[]>()
  for (const entry of launches) groups.set(entry.sessionId, [...(groups.get(entry.sessionId) ?? []), entry])
  return groups
}
