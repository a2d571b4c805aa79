import type { ChildProcess } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { REASONS } from '@cliscale/contract'
import { removeTree } from '@cliscale/service-kit'
import type { ProcessMark } from '@cliscale/service-kit/process-mark'
import type { Address, Identified } from '../launcher.ts'
import { HostProbe } from './host-probe.ts'
import { signalProcess } from './process-table.ts'
import {
  isHostDone,
  type LaunchRecord,
  makeSessionFolder,
  readEndpoint,
  type SessionFolder,
  sessionFolder,
  writeAtomically,
} from './session-folder.ts'
import { type ProcessDeps, SessionProcesses } from './session-processes.ts'
import { StopWatch } from './stop-watch.ts'

/** What a session needs of its launcher. */
export interface SessionDeps extends ProcessDeps {
  /** Something that `list` shows changed. */
  readonly changed: () => void
  /** Look at the sessions soon. */
  readonly wake: () => void
}

/** Waits before a host that died is started again; the last one repeats. */
const RESTART_DELAYS_MS = [0, 200, 1_000, 5_000]
/** Waits before files that could not be removed are tried again. */
const REMOVE_RETRIES_MS = [1_000, 5_000, 30_000, 120_000]
/** Waits before what could not be killed is killed again; the last one repeats. */
const KILL_RETRIES_MS = [5_000, 30_000, 120_000, 600_000]
/** A host that lived this long has recovered. */
const HEALTHY_AFTER_MS = 30_000
/** Start of no process. */
const GONE = ''
/** How long a new host is asked for its port often. */
const SETTLING_MS = 30_000

/**
 * One session's processes on this machine.
 *
 *   (nothing) → recorded → work runs → host runs ⇄ host died (started again after a delay)
 *   any of these → removing → gone; also by itself when the host ended with exit code 0. What cannot be removed of its
 *   files after some attempts is left, and the session is gone all the same.
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
  /** It is being cleared away, or what is left of it is. */
  #isRemoving = false
  #workLost = false
  /** The host that was told of it. */
  #toldHost: number | undefined
  /** Our own host, and how it ended; undefined for one that an earlier launcher started. */
  #child: ChildProcess | undefined
  #exit: { code: number | null; signal: NodeJS.Signals | null } | undefined
  #probed: { readonly pid: number; readonly probe: HostProbe } | undefined
  #stopWatch: StopWatch | undefined
  #hostStartedAt = 0
  #failures = 0
  #restartAt: number | undefined
  /** Failed attempts to end its processes, and to remove its files. */
  #killFailures = 0
  #fileFailures = 0
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

  launch(identity: { token: string; tokenHash: string; launchId: string }): Promise<void> {
    return this.#inTurn(async () => {
      if (this.record !== undefined && !this.#isRemoving) return
      if (this.#isRemoving) {
        await this.#endProcesses()
        await this.#removeFiles()
        this.#forget()
      }
      this.gone = false
      try {
        await this.#begin(identity)
      } catch (error) {
        await this.#removeAll().catch(() => undefined)
        throw error
      }
      this.#deps.changed()
    })
  }

  /** Takes up a launch that an earlier launcher recorded. */
  adopt(record: LaunchRecord): Promise<void> {
    return this.#inTurn(async () => {
      // A pid of a record that is old, or that another program wrote, may be a stranger's.
      const family = await this.#processes.family()
      const known = (mark: ProcessMark | null): ProcessMark | null =>
        mark !== null && family.some(({ pid, start }) => pid === mark.pid && start === mark.start)
          ? mark
          : mark && { ...mark, start: GONE }
      this.record = { ...record, host: known(record.host), work: known(record.work) }
      await this.#ensureProcesses()
      this.#hostStartedAt = Date.now()
      this.#address = await readEndpoint(this.folder.endpoint)
    })
  }

  /** Kills and clears away everything; with `launchId` only when that is the launch. May be repeated. */
  remove(launchId?: string): Promise<void> {
    return this.#inTurn(async () => {
      if (launchId !== undefined && this.record !== undefined && this.record.podUid !== launchId) return
      if (!this.gone) await this.#removeAll()
    })
  }

  async describe(): Promise<Identified | undefined> {
    const record = this.record
    if (record === undefined || this.#isRemoving) return undefined
    const address = this.#address
    const group = this.#group
    const oomKilled = group !== null && ((await this.#deps.groups?.oomKilled(group)) ?? false)
    return {
      sessionId: this.sessionId,
      launchId: record.podUid,
      progress: 'running',
      ...(address && { address }),
      ...(oomKilled && { fault: { reason: 'oom_killed' as const, detail: REASONS.oom_killed.hint } }),
    }
  }

  /** Folder of its memory limit; null when it has none. */
  get #group(): string | null {
    return this.record?.limited ? (this.#deps.groups?.groupOf(this.sessionId) ?? null) : null
  }

  /** The processes to watch. */
  marks(): ProcessMark[] {
    return [this.record?.host, this.record?.work].filter((mark) => mark != null)
  }

  /** Looks after the session, given which of its processes run. Never waits for a removal. */
  async check(alive: ReadonlySet<number>): Promise<void> {
    if (this.busy || this.gone) return
    if (this.#isRemoving || this.#exit?.code === 0) return this.#removeInBackground()
    if (this.record === undefined) return
    const { host, work } = this.record
    if (work !== null && !alive.has(work.pid)) await this.#workEnded()
    // Our own child has ended when Node says so: then its exit code is there too.
    const ended = this.#child === undefined ? host === null || !alive.has(host.pid) : this.#exit !== undefined
    if (ended) return (await this.#isDone()) ? this.#removeInBackground() : this.#hostEnded()
    if (this.#address !== undefined) return
    this.#address = await readEndpoint(this.folder.endpoint)
    if (this.#address !== undefined) this.#deps.changed()
  }

  /**
   * Kills a host that hangs, for which `check` then starts another. To be called every now and again. It does not wait
   * for anything, and nothing else waits for a host: it may hang whenever it likes.
   */
  async probe(): Promise<void> {
    const host = this.record?.host
    if (host == null || this.#isRemoving || this.gone) return this.#endProbe()
    if (this.#probed?.pid !== host.pid) {
      this.#endProbe()
      this.#probed = { pid: host.pid, probe: new HostProbe(this.#deps.options.probe) }
    }
    if (!this.#probed!.probe.look(this.#address)) return
    this.#endProbe()
    await this.#killHost()
  }

  /** The session is to stop, and its host was told. */
  expectEnd(): void {
    if (this.#stopWatch !== undefined || this.#isRemoving || this.gone) return
    // A work that is stopped could neither hear of it nor ask its program. A host in its place is replaced.
    void this.#processes.letGoOn(this.record?.work ?? null)
    this.#stopWatch = new StopWatch({
      address: () => this.#address,
      pid: () => this.record?.host?.pid,
      askWork: () => void this.#processes.tellToStop(this.record?.work ?? null),
      killHost: () => void this.#killHost().catch(() => undefined),
    })
  }

  async #killHost(): Promise<void> {
    const host = this.record?.host
    if (host == null) return
    const { sessionId } = this
    this.#deps.options.logger.warn({ sessionId, pid: host.pid }, 'the host does not answer and is restarted')
    await signalProcess(this.#deps.processes, host, 'SIGKILL')
  }

  #endProbe(): void {
    this.#probed?.probe.close()
    this.#probed = undefined
  }

  /** Resolves when nothing is under way any more. */
  release(): Promise<void> {
    this.#child?.removeAllListeners('exit')
    this.#endProbe()
    this.#stopWatch?.close()
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
      this.#deps.options.logger.warn({ sessionId, ...this.#exit, failures: this.#failures }, 'host ended')
      this.#deps.changed()
    }
    if (Date.now() < this.#restartAt) return
    await this.#inTurn(async () => {
      if (this.record === undefined || this.#isRemoving) return
      await this.#write({ ...this.record, host: null })
      await this.#ensureProcesses()
    })
  }

  /** Of a host that an earlier launcher started nobody is told the exit code: it leaves a sign instead. */
  async #isDone(): Promise<boolean> {
    return this.#child === undefined && this.record?.host != null && (await isHostDone(this.folder.endpoint))
  }

  #removeInBackground(): void {
    if (Date.now() >= this.#removeAt) this.remove().catch(() => undefined)
  }

  /** Processes that do not end are tried again for ever, and told of; files a few times, and told of once. */
  async #removeAll(): Promise<void> {
    try {
      await this.#endProcesses()
    } catch (error) {
      const { sessionId } = this
      this.#removeAt = Date.now() + KILL_RETRIES_MS[Math.min(this.#killFailures++, KILL_RETRIES_MS.length - 1)]!
      this.#deps.options.logger.error({ sessionId, why: (error as Error).message }, 'session could not be ended')
      throw error
    }
    try {
      await this.#removeFiles()
      this.#forget()
    } catch (error) {
      this.#leaveFiles(error as Error)
    }
  }

  #leaveFiles(error: Error): void {
    const { sessionId, folder } = this
    const waitMs = (this.#deps.options.removeRetriesMs ?? REMOVE_RETRIES_MS)[this.#fileFailures++]
    if (waitMs !== undefined) {
      this.#removeAt = Date.now() + waitMs
      return
    }
    const advice = `It is tried again when the server starts. To remove it yourself: chattr -R -i '${folder.root}' '${folder.tmp}'; rm -rf '${folder.root}' '${folder.tmp}'`
    this.#deps.options.logger.error(
      { sessionId, why: error.message, advice },
      'files of a session could not be removed',
    )
    this.#forget()
  }

  async #begin({ token, tokenHash, launchId }: { token: string; tokenHash: string; launchId: string }): Promise<void> {
    const { sessionId } = this
    await makeSessionFolder(this.folder)
    await writeAtomically(this.folder.identity, token)
    const limited = (await this.#deps.groups?.create(sessionId)) !== undefined
    const empty = { version: 1, work: null, host: null, removing: false } as const
    await this.#write({ ...empty, sessionId, podUid: launchId, tokenHash, limited })
    await this.#ensureProcesses()
  }

  async #ensureProcesses(): Promise<void> {
    const record = this.record!
    if (record.work === null) {
      await this.#processes.endAll('work')
      // What a work that was killed leaves there would keep the next one from listening.
      await rm(this.folder.workSocket, { force: true })
      const { mark } = await this.#processes.start('work', this.#group)
      await this.#write({ ...record, work: mark })
    }
    if (this.record!.host === null) {
      await this.#processes.endAll('host')
      await rm(this.folder.endpoint, { force: true })
      this.#address = undefined
      // Before it is started: what cannot be started waits longer and longer, as what dies at once does.
      this.#restartAt = undefined
      this.#hostStartedAt = Date.now()
      const { mark } = await this.#processes.start('host', null, (started) => this.#watch(started))
      await this.#write({ ...this.record!, host: mark })
    }
  }

  #watch(child: ChildProcess): void {
    this.#child = child
    this.#exit = undefined
    const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (this.#child !== child) return
      this.#exit = { code, signal }
      this.#deps.wake()
    }
    child.once('exit', ended)
    // One that the system did not start never exits.
    child.once('error', () => ended(null, null))
  }

  async #endProcesses(): Promise<void> {
    const { folder, record } = this
    this.#isRemoving = true
    this.#stopWatch?.close()
    if (record !== undefined && !record.removing) await this.#noteRemoving(record)
    const group = this.#group
    // Seen before work ends: a child with another environment is known by its parents only.
    const family = await this.#processes.family()
    const own = this.marks()
    await this.#processes.terminate(own)
    // If work hangs, its programs have not been asked yet.
    const isOwn = (pid: number): boolean => own.some((mark) => mark.pid === pid)
    await this.#processes.terminate(family.filter(({ pid }) => !isOwn(pid)))
    await this.#processes.killEverything([...family, ...this.marks()], group)
    if (group !== null) await this.#deps.groups?.remove(group)
    await rm(folder.workSocket, { force: true })
  }

  async #removeFiles(): Promise<void> {
    const { root, tmp, state } = this.folder
    try {
      await removeTree(root)
    } finally {
      // `root` is found again by its name, a session's id; `tmp` is not, so it goes before `state`, which tells of it.
      await removeTree(tmp)
      await removeTree(state)
    }
  }

  #forget(): void {
    this.record = undefined
    this.#child = undefined
    this.#exit = undefined
    this.#address = undefined
    this.#restartAt = undefined
    this.#failures = 0
    this.#killFailures = 0
    this.#fileFailures = 0
    this.#removeAt = 0
    this.#workLost = false
    this.#toldHost = undefined
    this.#stopWatch = undefined
    this.#isRemoving = false
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
