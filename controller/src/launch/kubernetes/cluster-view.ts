import type { Logger } from '@cliscale/service-kit'
import { CONTAINERS } from './job-names.ts'
import { type EventObject, keepEvent } from './cluster-events.ts'
import type { KubernetesApi } from './api.ts'
import { type JobObject, keepJob, keepPod, type KubernetesObject, type PodObject } from './objects.ts'
import { ResourceWatch, type WatchStats, type WatchTimings } from './resource-watch.ts'
import type { Identified, Launched } from '../launcher.ts'
import { isFinished, isPrepared, jobState, podState } from './pod-state.ts'

export interface ClusterViewOptions {
  readonly api: KubernetesApi
  readonly logger: Logger
  readonly namespace: string
  readonly selector: string
  readonly sessionOf: (object: KubernetesObject) => string | undefined
  readonly rememberMs: number
  readonly onChange: () => void
  readonly timings?: Partial<WatchTimings>
}

/** A bound for what is remembered of launches that are gone. */
const MAX_REMEMBERED = 5_000

interface Remembered {
  readonly launched: Identified
  readonly jobUid: string | undefined
  readonly until: number
}

/** What runs, as far as the cluster has told: Jobs, pods, pods that are gone, and what we had removed. */
export class ClusterView {
  readonly jobsPath: string
  readonly podsPath: string
  readonly #options: ClusterViewOptions
  readonly #jobs: ResourceWatch<JobObject>
  readonly #pods: ResourceWatch<PodObject>
  readonly #events: ResourceWatch<EventObject>
  /** The last warning about each Job or pod, by its uid. */
  readonly #warnings = new Map<string, EventObject>()
  /** By pod uid. */
  readonly #gone = new Map<string, Remembered>()
  /** Uids of Jobs and pods that were ordered to go, and when. */
  readonly #removed = new Map<string, number>()
  /** Jobs that have had a pod. */
  readonly #hadPod = new Set<string>()

  constructor(options: ClusterViewOptions) {
    const { api, logger, namespace, onChange, selector: labelSelector, timings = {} } = options
    this.#options = options
    this.jobsPath = `/apis/batch/v1/namespaces/${namespace}/jobs`
    this.podsPath = `/api/v1/namespaces/${namespace}/pods`
    const common = { api, selector: { labelSelector }, logger, onChange, timings }
    this.#jobs = new ResourceWatch({
      ...common,
      path: this.jobsPath,
      resource: 'jobs',
      keep: keepJob,
      onGone: ({ metadata }) => this.#hadPod.delete(metadata.uid),
    })
    this.#pods = new ResourceWatch({
      ...common,
      path: this.podsPath,
      resource: 'pods',
      keep: (object) => {
        const pod = keepPod(object)
        const owner = this.ownerOf(pod)
        if (owner !== undefined) this.#hadPod.add(owner)
        return pod
      },
      onGone: (pod) => this.#remember(pod),
    })
    // A quota, a policy or a volume that keeps a pod from being made stands in no status.
    this.#events = new ResourceWatch({
      ...common,
      selector: { fieldSelector: 'type=Warning' },
      // Of events an API server keeps no cache to watch from, and so it sends no bookmarks of them.
      timings: { ...timings, silenceMs: 2 * (timings.relistMs ?? 300_000) },
      isOptional: true,
      path: `/api/v1/namespaces/${namespace}/events`,
      resource: 'events',
      keep: (object) => {
        const event = keepEvent(object)
        if (event === undefined || (this.#warnings.get(event.about)?.at ?? -1) > event.at) return undefined
        this.#warnings.set(event.about, event)
        return event
      },
      onGone: ({ about, metadata }) => {
        if (this.#warnings.get(about)?.metadata.uid === metadata.uid) this.#warnings.delete(about)
      },
    })
  }

  start(): void {
    this.#jobs.start()
    this.#pods.start()
    this.#events.start()
  }

  async close(): Promise<void> {
    await Promise.all([this.#jobs.close(), this.#pods.close(), this.#events.close()])
  }

  stats(): readonly WatchStats[] {
    return [this.#jobs.stats, this.#pods.stats]
  }

  async synced(limitMs: number): Promise<void> {
    if (this.#jobs.isSynced && this.#pods.isSynced) return
    await Promise.all([this.#jobs.listedSince(-Infinity, limitMs), this.#pods.listedSince(-Infinity, limitMs)])
  }

  /** Resolves when everything was listed anew. Throws as `synced` does. */
  async refresh(limitMs: number): Promise<void> {
    const since = performance.now()
    this.#jobs.relist()
    this.#pods.relist()
    await Promise.all([this.#jobs.listedSince(since, limitMs), this.#pods.listedSince(since, limitMs)])
  }

  launches(): readonly Launched[] {
    const now = performance.now()
    const all: Launched[] = []
    const jobsWithPod = new Set<string>()
    for (const pod of this.#pods.objects.values()) {
      const sessionId = this.#options.sessionOf(pod)
      if (sessionId === undefined) continue
      const owner = this.ownerOf(pod)
      if (owner !== undefined) jobsWithPod.add(owner)
      if (!this.isRemoved(pod)) all.push(this.describe(pod, sessionId))
    }
    for (const [uid, { launched, jobUid, until }] of this.#gone) {
      if (until < now) this.#gone.delete(uid)
      else {
        all.push(launched)
        if (jobUid !== undefined) jobsWithPod.add(jobUid)
      }
    }
    for (const job of this.#jobs.objects.values()) {
      const { uid } = job.metadata
      const sessionId = this.#options.sessionOf(job)
      if (sessionId === undefined || jobsWithPod.has(uid) || this.#removed.has(uid)) continue
      // Its pod is gone, and the Job will say how that counts.
      if (this.#hadPod.has(uid) && !isFinished(job)) continue
      all.push({ sessionId, launchId: undefined, ...this.#withWarning(uid, jobState(job)) })
    }
    return all
  }

  pod(uid: string): PodObject | undefined {
    return this.#pods.objects.get(uid)
  }

  podsOf(sessionId: string): readonly PodObject[] {
    return [...this.#pods.objects.values()].filter((pod) => this.#options.sessionOf(pod) === sessionId)
  }

  /** The uid of the Job that made a pod. */
  ownerOf({ metadata }: PodObject): string | undefined {
    return metadata.ownerReferences?.find(({ controller, kind }) => controller === true && kind === 'Job')?.uid
  }

  describe(pod: PodObject, sessionId: string): Identified {
    const job = this.#jobs.objects.get(this.ownerOf(pod) ?? '')
    const { uid } = pod.metadata
    const state = podState(pod, job)
    return { sessionId, launchId: uid, ...(isPrepared(pod) ? state : this.#withWarning(uid, state)) }
  }

  isRemoved(pod: PodObject): boolean {
    return this.#removed.has(pod.metadata.uid) || this.#removed.has(this.ownerOf(pod) ?? '')
  }

  /** Whether a Job had its pod, and nothing of it runs any more: it makes no other one. */
  isSpent({ metadata: { uid } }: JobObject): boolean {
    const pods = [...this.#pods.objects.values()].filter((pod) => this.ownerOf(pod) === uid)
    return this.#hadPod.has(uid) && pods.every((pod) => podState(pod).progress === 'ended')
  }

  putJob(job: JobObject): void {
    this.#removed.delete(job.metadata.uid)
    this.#jobs.put(job)
    this.#options.onChange()
  }

  markRemovedJob(uid: string): void {
    this.#removed.set(uid, performance.now())
    this.#trimRemoved()
  }

  /** From now on these count as gone. */
  markRemoved(pods: readonly PodObject[]): void {
    for (const { metadata } of pods) this.#removed.set(metadata.uid, performance.now())
    this.#trimRemoved()
  }

  /** Forgets what is remembered of launches that are gone: of the one, or of all of the session. */
  forget(sessionId: string, launchId?: string): void {
    for (const [uid, { launched }] of this.#gone)
      if (launched.sessionId === sessionId && (launchId === undefined || uid === launchId)) this.#gone.delete(uid)
  }

  /** Launches whose host ended with 0 longer than `leaveMs` ago and whose pod is still there; and when to look again. */
  leaving(leaveMs: number): { overdue: { sessionId: string; launchId: string }[]; nextInMs: number | undefined } {
    const overdue: { sessionId: string; launchId: string }[] = []
    let nextInMs: number | undefined
    for (const pod of this.#pods.objects.values()) {
      const sessionId = this.#options.sessionOf(pod)
      const doneAt = hostDoneAt(pod)
      if (sessionId === undefined || doneAt === undefined || this.isRemoved(pod)) continue
      const leftMs = doneAt + leaveMs - Date.now()
      if (leftMs <= 0) overdue.push({ sessionId, launchId: pod.metadata.uid })
      else nextInMs = Math.min(nextInMs ?? Infinity, leftMs + 50)
    }
    return { overdue, nextInMs }
  }

  /** While nothing of a launch runs and no status says why, the cluster's last warning does. */
  #withWarning<S extends Pick<Launched, 'progress' | 'wait' | 'fault'>>(uid: string, state: S): S {
    const warning = this.#warnings.get(uid)
    const waits = state.progress === 'scheduling' || state.progress === 'pulling_image'
    if (warning === undefined || !waits || state.wait !== undefined || state.fault !== undefined) return state
    return { ...state, wait: warning.wait }
  }

  #remember(pod: PodObject): void {
    const { uid } = pod.metadata
    const sessionId = this.#options.sessionOf(pod)
    const jobUid = this.ownerOf(pod)
    // A Job that is deleted goes before its pods, and nobody asks about it any more.
    if (jobUid !== undefined && !this.#jobs.objects.has(jobUid)) this.#hadPod.delete(jobUid)
    if (sessionId === undefined || this.isRemoved(pod)) return void this.#removed.delete(uid)
    const { address: _address, wait: _wait, ...last } = this.describe(pod, sessionId)
    const fault = last.fault ?? (last.report ? undefined : GONE)
    const launched: Identified = { ...last, progress: 'ended', ...(fault && { fault }) }
    const until = performance.now() + this.#options.rememberMs
    this.#gone.set(uid, { launched, jobUid, until })
    for (const oldest of this.#gone.keys()) if (this.#gone.size > MAX_REMEMBERED) this.#gone.delete(oldest)
  }

  /** Pods of a removed Job may still be on their way, so its uid stays for a while. */
  #trimRemoved(): void {
    const before = performance.now() - this.#options.rememberMs
    for (const [uid, at] of this.#removed) {
      if (at >= before || this.#pods.objects.has(uid) || this.#jobs.objects.has(uid)) continue
      const hasPods = [...this.#pods.objects.values()].some((pod) => this.ownerOf(pod) === uid)
      if (!hasPods) this.#removed.delete(uid)
    }
  }
}

const GONE = { reason: 'evicted', detail: 'The session’s pod was deleted.' } as const

/** When the host of a pod that goes on ended with exit code 0. */
function hostDoneAt({ metadata, status }: PodObject): number | undefined {
  const goesOn = status?.phase === 'Running' && metadata.deletionTimestamp === undefined
  const host = goesOn ? status.initContainerStatuses?.find(({ name }) => name === CONTAINERS.host) : undefined
  const ended = host?.state?.terminated ?? host?.lastState?.terminated
  return ended?.exitCode === 0 ? Date.parse(String(ended.finishedAt)) || undefined : undefined
}
