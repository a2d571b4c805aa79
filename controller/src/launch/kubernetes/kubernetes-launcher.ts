import { SESSION_ID_PATTERN } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import { KubeConfig } from '@kubernetes/client-node'
import { OUT_OF_QUOTA } from './cluster-events.ts'
import { jobName, sessionOf, sessionSelector } from './job-names.ts'
import { jobSpec, type JobSpecOptions } from './job-spec.ts'
import { ApiRefusal, createKubernetesApi, type KubernetesApi } from './api.ts'
import { type JobObject, keepJob, keepPod, type PodObject } from './objects.ts'
import { ClusterView } from './cluster-view.ts'
import type { WatchStats, WatchTimings } from './resource-watch.ts'
import type { Identified, Launched, Launcher, LaunchRequest } from '../launcher.ts'
import { LauncherUnavailable, LaunchRefused } from '../launcher.ts'
import { isFinished } from './pod-state.ts'
import { clean } from './pod-words.ts'
import { createTokenReviewer, type TokenReviewer } from './token-review.ts'

export interface KubernetesLauncherOptions extends JobSpecOptions {
  /** A kubeconfig file. Absent: what a pod is given. */
  readonly kubeconfig?: string
  readonly logger: Logger
  readonly timings?: Partial<KubernetesTimings>
}

export interface KubernetesTimings extends WatchTimings {
  /** For one call of the API server. */
  readonly callMs: number
  /** How long `list` may wait for the first list. */
  readonly syncMs: number
  /** How long a pod that disappeared is remembered, with what was done to it. */
  readonly rememberMs: number
  /** How long a pod whose host has nothing left to do may take to end by itself. */
  readonly leaveMs: number
}

const TIMINGS = { callMs: 10_000, syncMs: 10_000, rememberMs: 600_000, leaveMs: 20_000 }
/** Requests for a fresh list that come closer together share one. */
const REFRESH_EVERY_MS = 1_000

/** A launcher of Jobs, with what there is to see of its watches. */
export interface KubernetesLauncher extends Launcher {
  /** Of the watch that has been silent for longest, and of all lists; undefined before the first list. For metrics. */
  watchStats(): WatchStats | undefined
}

/**
 * A launcher whose sessions are Jobs in one namespace of a cluster, one for each. Several processes may each have one: Jobs
 * are named after their sessions, so none is made twice. It reads by list and watch only, never by a poll for each session.
 * It begins to watch at once. The caller closes it.
 *
 * @throws TypeError when there is no kubeconfig that could be used.
 */
export function createKubernetesLauncher(options: KubernetesLauncherOptions): KubernetesLauncher {
  const config = new KubeConfig()
  if (options.kubeconfig !== undefined) config.loadFromFile(options.kubeconfig)
  else config.loadFromCluster()
  const timings = { ...TIMINGS, ...options.timings }
  const launcher = new JobLauncher(options, timings, createKubernetesApi(config, { deadlineMs: timings.callMs }))
  launcher.start()
  return launcher
}

class JobLauncher implements KubernetesLauncher {
  readonly #options: KubernetesLauncherOptions
  readonly #timings: typeof TIMINGS
  readonly #api: KubernetesApi
  readonly #view: ClusterView
  readonly #reviewer: TokenReviewer
  readonly #listeners = new Set<() => void>()
  /** What is being done to a session: the next waits for it. */
  readonly #busy = new Map<string, Promise<unknown>>()
  #notice: NodeJS.Timeout | undefined
  #refreshing: { readonly at: number; readonly done: Promise<void> } | undefined
  #leaving: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: KubernetesLauncherOptions, timings: typeof TIMINGS, api: KubernetesApi) {
    this.#options = options
    this.#timings = timings
    this.#api = api
    const { instance, logger, namespace } = options
    this.#view = new ClusterView({
      api,
      logger,
      namespace,
      selector: sessionSelector(instance),
      sessionOf: (object) => sessionOf(object, instance),
      rememberMs: timings.rememberMs,
      onChange: () => this.#changed(),
      ...(options.timings && { timings: options.timings }),
    })
    this.#reviewer = createTokenReviewer({ api, namespace })
  }

  start(): void {
    this.#view.start()
  }

  async launch(request: LaunchRequest): Promise<void> {
    if (!SESSION_ID_PATTERN.test(request.sessionId)) throw new TypeError('a session id is a lower-case UUID')
    if (this.#closed) throw new Error('the launcher is closed')
    await this.#inTurn(request.sessionId, () => this.#launch(request))
  }

  async list(): Promise<readonly Launched[]> {
    await this.#view.synced(this.#timings.syncMs)
    return this.#view.launches()
  }

  async refresh(): Promise<void> {
    const now = performance.now()
    if (this.#refreshing === undefined || now - this.#refreshing.at > REFRESH_EVERY_MS) {
      const done = this.#view.refresh(this.#timings.syncMs)
      this.#refreshing = { at: now, done }
      done.catch(() => (this.#refreshing = undefined))
      return done
    }
    // The one under way began before this call, so another is due when its turn comes.
    const { at, done } = this.#refreshing
    await done.catch(() => undefined)
    const waitMs = at + REFRESH_EVERY_MS + 1 - performance.now()
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
    return this.refresh()
  }

  async identify(token: string): Promise<Identified | undefined> {
    const holder = await this.#reviewer.review(token)
    if (holder === undefined) return undefined
    const pod = this.#view.pod(holder.podUid) ?? (await this.#getPod(holder.podName))
    if (pod?.metadata.uid !== holder.podUid) return undefined
    const sessionId = sessionOf(pod, this.#options.instance)
    if (sessionId === undefined || this.#view.isRemoved(pod)) return undefined
    const launched = this.#view.describe(pod, sessionId)
    return launched.progress === 'ended' ? undefined : launched
  }

  async remove(sessionId: string, launchId?: string): Promise<void> {
    await this.#inTurn(sessionId, () =>
      launchId === undefined ? this.#removeAll(sessionId) : this.#removeOne(sessionId, launchId),
    )
    this.#changed()
  }

  expectEnd(): void {
    // The kubelet watches hosts, and a controller cannot reach a pod's processes.
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  watchStats(): WatchStats | undefined {
    const all = this.#view.stats()
    const silentMs = Math.max(...all.map((one) => one.silentMs))
    return Number.isFinite(silentMs) ? { silentMs, relists: all.reduce((sum, one) => sum + one.relists, 0) } : undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#listeners.clear()
    clearTimeout(this.#notice)
    clearTimeout(this.#leaving)
    this.#api.close()
    await this.#view.close()
    await Promise.allSettled(this.#busy.values())
  }

  async #inTurn<T>(sessionId: string, task: () => Promise<T>): Promise<T> {
    const before = this.#busy.get(sessionId) ?? Promise.resolve()
    const mine = before.then(task, task)
    this.#busy.set(sessionId, mine)
    try {
      return await mine
    } finally {
      if (this.#busy.get(sessionId) === mine) this.#busy.delete(sessionId)
    }
  }

  async #launch(request: LaunchRequest): Promise<void> {
    const job = jobSpec(request, this.#options)
    for (const isLast of [false, true]) {
      const made = await this.#create(job)
      if (made !== undefined) return this.#view.putJob(made)
      const existing = await this.#getJob(request.sessionId)
      if (existing === undefined) continue
      if (sessionOf(existing, this.#options.instance) !== request.sessionId)
        throw new Error(`a Job named ${existing.metadata.name} exists that is not ours`)
      if (existing.metadata.deletionTimestamp !== undefined)
        throw new LauncherUnavailable('an earlier launch of the session is still being removed')
      const isOver = isFinished(existing) || this.#view.isSpent(existing)
      if (!isOver) return this.#view.putJob(existing)
      if (isLast) break
      // It has ended, and cannot be started again.
      await this.#deleteJob(request.sessionId, existing.metadata.uid)
    }
    throw new LauncherUnavailable('the session’s Job appeared and disappeared while it was being created')
  }

  /** The Job that was made, or undefined when there is one of that name. */
  async #create(body: ReturnType<typeof jobSpec>): Promise<JobObject | undefined> {
    try {
      return keepJob(await this.#api.call({ method: 'POST', path: this.#view.jobsPath, body }))
    } catch (err) {
      if (!(err instanceof ApiRefusal)) throw err
      if (err.status === 409 && err.reason === 'AlreadyExists') return undefined
      // Conflicts with a quota's count: the same call works a moment later.
      if (err.status === 409) throw new LauncherUnavailable(`the cluster was busy: ${err.message}`, { cause: err })
      if (OUT_OF_QUOTA.test(err.message))
        throw new LauncherUnavailable(`there is no room for more sessions: ${err.message}`, { cause: err })
      throw new LaunchRefused(clean('The cluster refuses the session’s Job.', err.message), { cause: err })
    }
  }

  async #getJob(sessionId: string): Promise<JobObject | undefined> {
    const found = await this.#get(`${this.#view.jobsPath}/${jobName(sessionId)}`)
    return found === undefined ? undefined : keepJob(found)
  }

  async #getPod(name: string): Promise<PodObject | undefined> {
    const found = await this.#get(`${this.#view.podsPath}/${encodeURIComponent(name)}`)
    return found === undefined ? undefined : keepPod(found)
  }

  async #get(path: string): Promise<unknown> {
    try {
      return await this.#api.call({ method: 'GET', path })
    } catch (err) {
      if (err instanceof ApiRefusal && err.status === 404) return undefined
      throw err
    }
  }

  async #removeAll(sessionId: string): Promise<void> {
    const jobUid = await this.#deleteJob(sessionId)
    const pods = this.#view.podsOf(sessionId)
    // The cluster's garbage collector takes the Job's own; what else there is was made by hand, or its Job is gone.
    const left = pods.filter(
      (pod) =>
        (jobUid === undefined || this.#view.ownerOf(pod) !== jobUid) && pod.metadata.deletionTimestamp === undefined,
    )
    await Promise.all(left.map((pod) => this.#deletePod(pod)))
    this.#view.markRemoved(pods)
    this.#view.forget(sessionId)
  }

  async #removeOne(sessionId: string, podUid: string): Promise<void> {
    const pod = this.#view.pod(podUid)
    if (pod === undefined || sessionOf(pod, this.#options.instance) !== sessionId)
      return this.#view.forget(sessionId, podUid)
    const owner = this.#view.ownerOf(pod)
    const launched = this.#view.describe(pod, sessionId)
    const others = this.#view.podsOf(sessionId).some((other) => other !== pod && this.#view.ownerOf(other) === owner)
    // Its Job can do nothing more. While a pod runs the Job stays: another pod of it may be the one that counts.
    if (launched.progress === 'ended' && owner !== undefined && !others) await this.#deleteJob(sessionId, owner)
    else if (pod.metadata.deletionTimestamp === undefined) await this.#deletePod(pod)
    this.#view.markRemoved([pod])
  }

  /** Deletes the session's Job and, later, its pods. Returns the uid of the Job, if there was one. */
  async #deleteJob(sessionId: string, uid?: string): Promise<string | undefined> {
    const answer = await this.#delete(`${this.#view.jobsPath}/${jobName(sessionId)}`, {
      propagationPolicy: 'Background',
      ...(uid !== undefined && { preconditions: { uid } }),
    })
    const { details, metadata } = (answer ?? {}) as { details?: { uid?: string }; metadata?: { uid?: string } }
    const deleted = answer === undefined ? uid : (details?.uid ?? metadata?.uid)
    if (deleted !== undefined) this.#view.markRemovedJob(deleted)
    return deleted
  }

  async #deletePod({ metadata }: PodObject): Promise<void> {
    const preconditions = { uid: metadata.uid }
    await this.#delete(`${this.#view.podsPath}/${encodeURIComponent(metadata.name)}`, { preconditions })
  }

  /** What was deleted, or undefined when it was not there, or not the one that was meant. */
  async #delete(path: string, options: object): Promise<unknown> {
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', ...options }
    try {
      return await this.#api.call({ method: 'DELETE', path, body })
    } catch (err) {
      if (!(err instanceof ApiRefusal)) throw err
      const isAnother = err.status === 409 && /precondition/i.test(err.message)
      if (err.status === 404 || isAnother) return undefined
      if (err.status === 409) throw new LauncherUnavailable(`the cluster was busy: ${err.message}`, { cause: err })
      throw err
    }
  }

  #changed(): void {
    if (this.#closed) return
    this.#notice ??= setTimeout(() => {
      this.#notice = undefined
      this.#clearAway()
      for (const listener of this.#listeners) listener()
    }, 20)
  }

  /**
   * A host that ended with 0 has nothing left to do, and its pod ends with work. Where work does not end, the machine
   * would start that host again for ever.
   */
  #clearAway(): void {
    clearTimeout(this.#leaving)
    const { overdue, nextInMs } = this.#view.leaving(this.#timings.leaveMs)
    for (const { sessionId, launchId } of overdue) {
      this.remove(sessionId, launchId).catch((err: unknown) =>
        this.#options.logger.warn({ err, sessionId }, 'an ended session could not be removed'),
      )
    }
    if (nextInMs !== undefined) this.#leaving = setTimeout(() => this.#changed(), nextInMs)
  }
}
