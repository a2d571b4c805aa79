import type { ChildProcess } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { REASONS } from '@cliscale/contract'
import type { Address, Identified } from '../launcher.ts'
import type { ProcessMark } from './process-table.ts'
import {
  isHostDone,
  type LaunchRecord,
  makeSessionFolder,
  readEndpoint,
  removeTree,
  type SessionFolder,
  sessionFolder,
  writeAtomically,
} from './session-folder.ts'
import { type ProcessDeps, SessionProcesses } from './session-processes.ts'

/** What a session needs of its launcher. */
export interface SessionDeps extends ProcessDeps {
  /** Something that `list` shows changed. */
  readonly changed: () => void
  /** Look at the sessions soon. */
  readonly wake: () => void
}

/** Waits before a host that died is started again; the last one repeats. */
const RESTART_DELAYS_MS = [0, 200, 1_000, 5_000]
/** Wait before a removal that failed is tried again. */
const REMOVE_RETRY_MS = 5_000
/** A host that lived this long has recovered. */
const HEALTHY_AFTER_MS = 30_000
/** How long a new host is asked for its port often. */
const SETTLING_MS = 30_000

/**
 * One session's processes on this machine.
 *
 *   (nothing) → recorded → work runs → host runs ⇄ host died (started again after a delay)
 *   any of these → removing → gone; also by itself when the host ended with exit code 0.
 *
 * Each step is in launch.json before it is taken, so that a launcher which starts after a crash goes on from it. A
 * process that was started but not yet written down is found by its command line and ended: work has nothing before
 * its first host, and a host may be killed at any time.
 */
export class LocalSession {
  readonly sessionId: string
  readonly folder: SessionFolder
  readonly #deps: SessionDeps
  readonly #processes: SessionProcesses
  record: LaunchRecord | undefined
  /** Everything of it has been cleared away. */
  gone = false
  #address: Address | undefined
  #workLost = false
  /** The host that was told of it. */
  #toldHost: number | undefined
  /** Our own host, and how it ended; undefined for one that an earlier launcher started. */
  #child: ChildProcess | undefined
  #exit: { code: number | null } | undefined
  #hostStartedAt = 0
  #failures = 0
  #restartAt: number | undefined
  #removeAt = 0
  #pending = 0
  #queue: Promise<void> = Promise.resolve()

  constructor(deps: SessionDeps, sessionId: string) {
    this.#deps = deps
    this.sessionId = sessionId
    this.folder = sessionFolder(deps.options.dataDir, deps.options.runDir, sessionId)
    this.#processes = new SessionProcesses(deps, this.folder, sessionId)
  }

  get busy(): boolean {
    return this.#pending > 0
  }

  /** Whether its host runs but has not said where it listens. */
  get settling(): boolean {
    const young = Date.now() - this.#hostStartedAt < SETTLING_MS
    return this.record?.host != null && this.#address === undefined && young
  }

  launch(identity: { token: string; tokenHash: string; podUid: string }): Promise<void> {
    return this.#inTurn(async () => {
      if (this.record !== undefined && !this.record.removing) return
      if (this.record?.removing) await this.#clear()
      this.gone = false
      try {
        await this.#begin(identity)
      } catch (error) {
        await this.#clear().catch(() => undefined)
        throw error
      }
      this.#deps.changed()
    })
  }

  /** Takes up a launch that an earlier launcher recorded. */
  adopt(record: LaunchRecord): Promise<void> {
    return this.#inTurn(async () => {
      this.record = record
      await this.#ensureProcesses()
      this.#hostStartedAt = Date.now()
      this.#address = await readEndpoint(this.folder.endpoint)
    })
  }

  /** Kills and clears away everything; with `podUid` only when that is the launch. May be repeated. */
  remove(podUid?: string): Promise<void> {
    return this.#inTurn(async () => {
      if (podUid !== undefined && this.record !== undefined && this.record.podUid !== podUid) return
      if (!this.gone) await this.#clear()
    })
  }

  async describe(): Promise<Identified | undefined> {
    const record = this.record
    if (record === undefined || record.removing) return undefined
    const address = this.#address
    const oomKilled = record.cgroup !== null && ((await this.#deps.memory?.oomKilled(record.cgroup)) ?? false)
    return {
      sessionId: this.sessionId,
      podUid: record.podUid,
      progress: 'running',
      ...(address && { address }),
      ...(oomKilled && { fault: { reason: 'oom_killed' as const, detail: REASONS.oom_killed.hint } }),
    }
  }

  /** The processes to watch. */
  marks(): ProcessMark[] {
    return [this.record?.host, this.record?.work].filter((mark) => mark != null)
  }

  /** Looks after the session, given which of its processes run. Never waits for a removal. */
  async check(alive: ReadonlySet<number>): Promise<void> {
    if (this.busy || this.record === undefined) return
    if (this.record.removing || this.#exit?.code === 0) return this.#removeInBackground()
    const { host, work } = this.record
    if (work !== null && !alive.has(work.pid)) await this.#workEnded()
    // Our own child has ended when Node says so: then its exit code is there too.
    const ended = this.#child === undefined ? host === null || !alive.has(host.pid) : this.#exit !== undefined
    if (ended) return (await this.#isDone()) ? this.#removeInBackground() : this.#hostEnded()
    if (this.#address !== undefined) return
    this.#address = await readEndpoint(this.folder.endpoint)
    if (this.#address !== undefined) this.#deps.changed()
  }

  /** Resolves when nothing is under way any more. */
  release(): Promise<void> {
    this.#child?.removeAllListeners('exit')
    return this.#queue
  }

  /** As Kubernetes does: a host whose work has ended is told to end, and brings the session to its end first. */
  async #workEnded(): Promise<void> {
    if (!this.#workLost) {
      this.#workLost = true
      this.#deps.changed()
    }
    const host = this.record?.host
    // Before it listens, it may not be able to hear it.
    if (host == null || this.#address === undefined || this.#toldHost === host.pid) return
    this.#toldHost = host.pid
    await this.#processes.tellToEnd(host)
  }

  async #hostEnded(): Promise<void> {
    if (this.#restartAt === undefined) {
      this.#failures = Date.now() - this.#hostStartedAt > HEALTHY_AFTER_MS ? 0 : this.#failures
      this.#restartAt = Date.now() + RESTART_DELAYS_MS[Math.min(this.#failures, RESTART_DELAYS_MS.length - 1)]!
      this.#failures++
      this.#address = undefined
      const { sessionId } = this
      this.#deps.options.logger.warn({ sessionId, code: this.#exit?.code, failures: this.#failures }, 'host ended')
      this.#deps.changed()
    }
    if (Date.now() < this.#restartAt) return
    await this.#inTurn(async () => {
      if (this.record === undefined || this.record.removing) return
      await this.#write({ ...this.record, host: null })
      await this.#ensureProcesses()
    })
  }

  /** Of a host that an earlier launcher started nobody is told the exit code: it leaves a sign instead. */
  async #isDone(): Promise<boolean> {
    return this.#child === undefined && this.record?.host != null && (await isHostDone(this.folder.endpoint))
  }

  #removeInBackground(): void {
    if (Date.now() < this.#removeAt) return
    this.remove().catch((err: unknown) => {
      this.#removeAt = Date.now() + REMOVE_RETRY_MS
      this.#deps.options.logger.error({ err, sessionId: this.sessionId }, 'session could not be cleared away')
    })
  }

  async #begin({ token, tokenHash, podUid }: { token: string; tokenHash: string; podUid: string }): Promise<void> {
    const { sessionId } = this
    await makeSessionFolder(this.folder)
    await writeAtomically(this.folder.identity, token)
    const cgroup = (await this.#deps.memory?.create(sessionId)) ?? null
    const empty = { version: 1, work: null, host: null, removing: false } as const
    await this.#write({ ...empty, sessionId, podUid, tokenHash, cgroup })
    await this.#ensureProcesses()
  }

  async #ensureProcesses(): Promise<void> {
    const record = this.record!
    if (record.work === null) {
      await this.#processes.endAll('work')
      // What a work that was killed leaves there would keep the next one from listening.
      await rm(this.folder.workSocket, { force: true })
      const { mark } = await this.#processes.start('work', record.cgroup)
      await this.#write({ ...record, work: mark })
    }
    if (this.record!.host === null) {
      await this.#processes.endAll('host')
      await rm(this.folder.endpoint, { force: true })
      this.#address = undefined
      const { mark } = await this.#processes.start('host', null, (started) => this.#watch(started))
      this.#restartAt = undefined
      this.#hostStartedAt = Date.now()
      await this.#write({ ...this.record!, host: mark })
    }
  }

  #watch(child: ChildProcess): void {
    this.#child = child
    this.#exit = undefined
    child.once('exit', (code) => {
      if (this.#child !== child) return
      this.#exit = { code }
      this.#deps.wake()
    })
  }

  async #clear(): Promise<void> {
    const { folder, record } = this
    if (record !== undefined && !record.removing) await this.#noteRemoving(record)
    // Seen before work ends: a child with another environment is known by its parents only.
    const family = await this.#processes.family()
    await this.#processes.terminate(this.marks())
    await this.#processes.killEverything([...family, ...this.marks()], record?.cgroup ?? null)
    if (record?.cgroup) await this.#deps.memory?.remove(record.cgroup)
    await rm(folder.workSocket, { force: true })
    // The record goes last: without it nobody would know that something is left.
    for (const part of [folder.workspace, folder.home, folder.spool]) await removeTree(part)
    await removeTree(folder.root)
    this.record = undefined
    this.#child = undefined
    this.#exit = undefined
    this.#address = undefined
    this.#restartAt = undefined
    this.#failures = 0
    this.#workLost = false
    this.#toldHost = undefined
    this.gone = true
    this.#deps.changed()
    this.#deps.wake()
  }

  /** A full disk must not keep what makes room on it: a record that cannot be written holds for this process alone. */
  async #noteRemoving(record: LaunchRecord): Promise<void> {
    const removing = { ...record, removing: true }
    await this.#write(removing).catch(() => (this.record = removing))
  }

  async #write(record: LaunchRecord): Promise<void> {
    await writeAtomically(this.folder.record, JSON.stringify(record))
    this.record = record
  }

  /** Launch, restart and removal of a session never overlap. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#pending++
    const done = this.#queue.then(work).finally(() => this.#pending--)
    this.#queue = done.catch(() => undefined)
    return done
  }
}
