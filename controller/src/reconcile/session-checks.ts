import type { Reason } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import type pg from 'pg'
import { isOfThePlace, statusOfFault } from '../host-api/correct-end.ts'
import type { Identified, Launched, Launcher, LaunchFault, LaunchRequest } from '../launch/launcher.ts'
import type { ControllerMetrics } from '../metrics.ts'
import { deleteEndpoint, upsertEndpoint } from '../sessions/endpoints.ts'
import { type Ending, endSession, noteProgress, startWithoutClaim, takeRelaunch } from '../sessions/lifecycle.ts'
import { launchRequest, type OpenSession } from '../sessions/open-sessions.ts'
import type { LaunchAttempts } from './launch-attempts.ts'
import { endOfLaunch, furthest } from './launch-end.ts'
import { Observations } from './observations.ts'

/** Times of the rules for one session. */
export interface CheckTimings {
  /** Between a stop request and the removal of a session whose host did not end it. */
  readonly stopLimitMs: number
  /** What a claimed session may take beyond its timeout: fetch, install, reports. Then its host is stuck. */
  readonly overdueSeconds: number
  /** Before this process ends what others left undone: a host that could not report meanwhile comes first. */
  readonly patienceMs: number
  /** Between the end or disappearance of a claimed launch and that of its session: a last report may be on its way. */
  readonly lostGraceMs: number
  /** How long a launch to which something was done may go on: its host concludes and reports within the pod's grace. */
  readonly faultGraceMs: number
  /** The same for one whose machine is gone: nobody reports, and its pod may stay listed for ever. */
  readonly nodeLostGraceMs: number
  /** How long a session may wait for an image that can't be pulled. */
  readonly pullLimitMs: number
  /** How long a launch by another process may take before this one makes it too (launches are idempotent). */
  readonly launchSeconds: number
}

export interface CheckDeps {
  readonly pool: pg.Pool
  readonly launcher: Launcher
  readonly logger: Logger
  readonly queueLimitSeconds: number
  readonly retentionSeconds: number
  readonly timings: CheckTimings
  readonly attempts: LaunchAttempts
  readonly launch: (request: LaunchRequest) => Promise<void>
  readonly metrics: ControllerMetrics
}

/** Removals that may fail in one pass; the others are left for the next. */
const MAX_UNREMOVED = 4

/**
 * Compares one open session with its launches, and does what follows. Several processes do this at once: what ends or
 * starts a session is decided under its row's lock, a launch is removed by its own id, and a launch of a session that
 * had one before is made by whoever changes `launched_at` first.
 *
 * The row may be older than what runs, because the database was restored to an earlier moment. Then:
 * - a launch whose row is gone is removed: without a row nobody owns it, can see it, or is believed by it;
 * - a row that knows of no claim, but whose launch has a report: there was a claim, which the restore has undone. The
 *   report ends the session; it is never launched a second time;
 * - a row that knows of no claim, and whose launch runs: it goes on. Its host is refused with its credential, claims again
 *   and is believed;
 * - a row of an open session that has no launch any more: unclaimed, it is launched only within its queue limit, so a
 *   restore that goes back further starts nothing that ran before; claimed, it is lost.
 */
export class SessionChecks {
  readonly #deps: CheckDeps
  readonly #seen = new Observations()
  #beganAt = Date.now()
  /** What runs for certain, when this pass had to know it. */
  #certain: Promise<readonly Launched[]> | undefined
  /** When the next session is to be ended by force. */
  #dueAtMs = Infinity
  /** Removals in this pass that failed. */
  #unremoved = 0

  constructor(deps: CheckDeps) {
    this.#deps = deps
  }

  /** From now on hosts can report; `patienceMs` counts from here. */
  begin(): void {
    this.#beganAt = Date.now()
  }

  /** How long until something is to be done that nobody tells of; Infinity when there is nothing. */
  get dueInMs(): number {
    return this.#dueAtMs - Date.now()
  }

  /** A pass begins, at these sessions; what is known of others is forgotten. */
  beginPass(ids: ReadonlySet<string>): void {
    this.#certain = undefined
    this.#unremoved = 0
    this.#dueAtMs = Infinity
    this.#seen.forgetAllBut(ids)
  }

  async check(session: OpenSession, launches: readonly Launched[]): Promise<void> {
    if (session.launchId === null) return this.#checkUnclaimed(session, launches)
    return this.#checkClaimed(session, session.launchId, launches)
  }

  /** What can be done while nothing is known of what runs: end what nobody has claimed, and nobody is to claim now. */
  async checkBlindly(session: OpenSession): Promise<void> {
    if (session.launchId === null) await this.#endWaiting(session)
  }

  async end(id: string, ending: Ending): Promise<boolean> {
    const ended = await endSession(this.#deps.pool, id, ending, this.#deps.retentionSeconds)
    if (ended) {
      this.#deps.attempts.forget(id)
      this.#deps.metrics.sessionEnded(ending.status, ending.reason)
      this.#deps.logger.info({ sessionId: id, status: ending.status, reason: ending.reason }, 'session ended')
    }
    return ended
  }

  /** Returns whether it is done; if not, it is tried again in the next pass. */
  async remove(sessionId: string, launchId?: string): Promise<boolean> {
    // Each may take as long as a call may: a launcher that is away is not asked for every session.
    if (this.#unremoved >= MAX_UNREMOVED) return false
    try {
      await this.#deps.launcher.remove(sessionId, launchId)
      return true
    } catch (err) {
      this.#unremoved++
      const isAway = (err as Error).name === 'LauncherUnavailable'
      if (isAway) this.#deps.logger.warn({ sessionId, why: (err as Error).message }, 'session could not be removed yet')
      else this.#deps.logger.error({ err, sessionId }, 'session could not be removed')
      return false
    }
  }

  async noteWait(session: Pick<OpenSession, 'id' | 'wait'>, wait: LaunchFault | undefined): Promise<void> {
    if (isSameWait(session.wait, wait)) return
    await noteProgress(this.#deps.pool, session.id, { pulling: false, wait })
  }

  async #checkUnclaimed(session: OpenSession, launches: readonly Launched[]): Promise<void> {
    if (await this.#endWaiting(session)) {
      if (launches.length > 0) await this.remove(session.id)
      return
    }
    if (session.status === 'queued') return
    const launched = furthest(launches)
    if (launched === undefined) return this.#launchAgain(session)
    if (launched.progress === 'ended' || launched.fault) return this.#checkOver(session, launched)
    if (await this.#endUnpullable(session, launched.wait)) return
    await this.#noteProgress(session, launched)
    if (session.kind === 'ttyd' && launched.address && isIdentified(launched))
      await startWithoutClaim(this.#deps.pool, launched)
  }

  /** Ends a session that waits, when it is to stop or has waited for too long. */
  async #endWaiting(session: OpenSession): Promise<boolean> {
    const unclaimedOnly = true
    if (session.stopRequestedAt !== null)
      return this.end(session.id, { status: 'stopped', reason: 'stopped_by_user', unclaimedOnly })
    if (session.ageSeconds <= this.#deps.queueLimitSeconds) return false
    // What it waits for says more than that it has waited.
    const { reason, detail } = session.wait ? inTheEnd(session.wait) : { reason: 'queue_deadline' as const, detail: '' }
    return this.end(session.id, { status: 'failed', reason, detail, unclaimedOnly })
  }

  async #endUnpullable(session: OpenSession, wait: LaunchFault | undefined): Promise<boolean> {
    const heldMs = this.#seen.heldMs(session.id, 'pull', wait?.reason === 'image_pull' ? 'image_pull' : undefined)
    if (wait === undefined || heldMs <= this.#deps.timings.pullLimitMs) return false
    const { reason, detail } = inTheEnd(wait)
    const unclaimedOnly = session.launchId === null
    if (await this.end(session.id, { status: 'failed', reason, detail, unclaimedOnly })) await this.remove(session.id)
    return true
  }

  /** The launch of a session that nobody claimed is over. */
  async #checkOver(session: OpenSession, { launchId, fault, report }: Launched): Promise<void> {
    const { attempts, pool } = this.#deps
    const ending = report ?? (fault && !isOfThePlace(fault) ? unclaimedEnd(fault) : undefined)
    const launchFailed = {
      status: 'failed',
      reason: fault?.reason ?? 'launch_failed',
      detail: fault?.detail ?? null,
    } as const
    const final = ending ?? (attempts.exhausted(session.id) ? launchFailed : undefined)
    if (final !== undefined) {
      if (await this.end(session.id, { ...final, unclaimedOnly: true })) await this.remove(session.id, launchId)
      return
    }
    // Without its id another process's new launch would be removed as well: the row says whose turn it is.
    if (!this.#mayLaunch(session) || !(await takeRelaunch(pool, session))) return
    attempts.take(session.id)
    await this.remove(session.id, launchId)
  }

  /** Marked by us or by a process that is gone; or it ran and ended without a claim. */
  async #launchAgain(session: OpenSession): Promise<void> {
    const { attempts, launch, pool } = this.#deps
    if (attempts.exhausted(session.id))
      return void (await this.end(session.id, { status: 'failed', reason: 'launch_failed', unclaimedOnly: true }))
    if (!this.#mayLaunch(session) || !(await takeRelaunch(pool, session))) return
    await launch(launchRequest(session))
  }

  #mayLaunch({ id, launchAgeSeconds }: OpenSession): boolean {
    const { attempts, timings } = this.#deps
    if (attempts.knows(id)) return attempts.mayTry(id)
    return (launchAgeSeconds ?? Infinity) >= timings.launchSeconds
  }

  async #noteProgress(session: OpenSession, { progress, wait }: Launched): Promise<void> {
    const pulling = progress === 'pulling_image' && session.status === 'scheduling'
    if (pulling || !isSameWait(session.wait, wait)) await noteProgress(this.#deps.pool, session.id, { pulling, wait })
  }

  async #checkClaimed(session: OpenSession, launchId: string, launches: readonly Launched[]): Promise<void> {
    const ours =
      launches.find((entry) => entry.launchId === launchId) ??
      launches.find((entry) => entry.launchId === undefined && entry.progress === 'ended')
    for (const duplicate of launches) {
      if (duplicate !== ours && duplicate.launchId !== undefined) await this.remove(session.id, duplicate.launchId)
    }
    if (session.kind === 'ttyd' ? await this.#endTerminal(session) : await this.#endOverdue(session)) return
    if (ours !== undefined) this.#seen.note(session.id, ours)
    const runs = ours !== undefined && ours.progress !== 'ended'
    await this.#writeEndpoint(session, launchId, runs ? ours : undefined)
    if (runs && (await this.#endsByWait(session, ours.wait))) return
    if (!this.#isOver(session, ours)) return
    if (ours === undefined && !(await this.#isGone(session.id, launchId))) return
    await this.#endOver(session)
  }

  /** The host's own image was there; that of the command may not be. */
  async #endsByWait(session: OpenSession, wait: LaunchFault | undefined): Promise<boolean> {
    await this.noteWait(session, wait)
    return this.#endUnpullable(session, wait)
  }

  /** What is not listed may only not have been heard of; nothing that can't be taken back follows from that alone. */
  async #isGone(id: string, launchId: string): Promise<boolean> {
    const { launcher, logger } = this.#deps
    try {
      this.#certain ??= launcher.refresh().then(() => launcher.list())
      const launched = (await this.#certain).find((entry) => entry.sessionId === id && entry.launchId === launchId)
      if (launched !== undefined) this.#seen.note(id, launched)
      return launched === undefined || launched.progress === 'ended'
    } catch (err) {
      logger.warn(
        { sessionId: id, why: (err as Error).message },
        'a launch is not listed, and the launcher cannot be asked',
      )
      return false
    }
  }

  /** Whether a claimed session's launch is over, and was for as long as a last report of its host may take. */
  #isOver(session: OpenSession, ours: Launched | undefined): boolean {
    const { timings } = this.#deps
    const runs = ours !== undefined && ours.progress !== 'ended'
    const overMs = this.#seen.heldMs(session.id, 'over', runs ? undefined : 'over')
    const faultMs = this.#seen.heldMs(session.id, 'fault', runs ? ours.fault?.reason : undefined)
    if (runs) {
      // What fell to its own command may go on: one of its processes was killed for memory, and the others were not.
      if (ours.fault === undefined || !isOfThePlace(ours.fault)) return false
      return faultMs > (ours.fault.reason === 'node_lost' ? timings.nodeLostGraceMs : timings.faultGraceMs)
    }
    // Nobody else speaks for a terminal of its own: what the launch says is all there is.
    if (session.kind === 'ttyd' && ours !== undefined) return true
    return overMs >= timings.lostGraceMs
  }

  async #endOver(session: OpenSession): Promise<void> {
    const stopRequested = session.stopRequestedAt !== null
    await this.end(session.id, endOfLaunch({ stopRequested, ...this.#seen.lastSeen(session.id) }))
  }

  /** A claimed session whose host did not end it when it should have. Returns whether it is one. */
  async #endOverdue(session: OpenSession): Promise<boolean> {
    const { overdueSeconds, patienceMs } = this.#deps.timings
    const leftMs = this.#stopLeftMs(session)
    const isStopped = leftMs <= 0
    if (!isStopped) this.#dueAtMs = Math.min(this.#dueAtMs, Date.now() + leftMs)
    if (!isStopped && leftMs < Infinity) this.#deps.launcher.expectEnd(session.id)
    const isOverdue = (session.claimAgeSeconds ?? 0) > session.timeoutSeconds + overdueSeconds
    if (!isStopped && !(isOverdue && Date.now() - this.#beganAt >= patienceMs)) return false
    if (!(await this.remove(session.id))) return true
    await this.end(
      session.id,
      isStopped ? { status: 'stopped', reason: 'stopped_by_user' } : { status: 'lost', reason: 'runner_lost' },
    )
    return true
  }

  /** How long the host of a session may still take to end it; Infinity when it is not to stop. */
  #stopLeftMs({ stopAgeSeconds }: OpenSession): number {
    if (stopAgeSeconds === null) return Infinity
    // A host that could not hear of it while this process was away has the whole time.
    const knownMs = Math.min(stopAgeSeconds * 1000, Date.now() - this.#beganAt)
    return this.#deps.timings.stopLimitMs - knownMs
  }

  /** A terminal of its own has no host that could stop it in order, or at its deadline. */
  async #endTerminal(session: OpenSession): Promise<boolean> {
    const isStopped = session.stopRequestedAt !== null
    if (!isStopped && (session.claimAgeSeconds ?? 0) <= session.timeoutSeconds) return false
    if (!(await this.remove(session.id))) return true
    await this.end(
      session.id,
      isStopped ? { status: 'stopped', reason: 'stopped_by_user' } : { status: 'expired', reason: 'deadline' },
    )
    return true
  }

  async #writeEndpoint(session: OpenSession, launchId: string, launched: Launched | undefined): Promise<void> {
    const { endpoint, id: sessionId } = session
    const address = launched?.address
    if (address === undefined) {
      // Of a launch that is not listed nothing is known: what the launcher hears may be late.
      if (endpoint !== null && launched !== undefined) await deleteEndpoint(this.#deps.pool, { sessionId, launchId })
      return
    }
    const same = endpoint?.host === address.host && endpoint.port === address.port && endpoint.launchId === launchId
    if (!same) await upsertEndpoint(this.#deps.pool, { sessionId, launchId, progress: 'running', address })
  }
}

/** One that can't go on ends its session; what only says that time ran out is the queue's own reason. */
function unclaimedEnd(fault: LaunchFault): Ending {
  if (fault.reason === 'deadline') return { status: 'failed', reason: 'queue_deadline' satisfies Reason }
  return { status: statusOfFault(fault), ...fault }
}

/** What a session waited for, when it waits no more: what is not so yet never will be. */
function inTheEnd({ reason, detail }: LaunchFault): LaunchFault {
  return { reason, detail: detail.replace(/ yet([.:])/, '$1') }
}

function isSameWait(a: LaunchFault | null, b: LaunchFault | undefined): boolean {
  return (a?.reason ?? null) === (b?.reason ?? null) && (a?.detail ?? null) === (b?.detail ?? null)
}

function isIdentified(launched: Launched): launched is Identified {
  return launched.sessionId !== undefined && launched.launchId !== undefined
}
