import { type ChildProcess, spawn } from 'node:child_process'
import { open, rm } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Address, Launched } from './launcher.ts'
import type { LocalLauncherOptions } from './local.ts'
import type { MemoryLimiter } from './memory-limit.ts'
import { type ProcessMark, type ProcessTable, type SessionMark, signalProcess } from './process-table.ts'
import {
  type LaunchRecord,
  makeSessionFolder,
  readEndpoint,
  removeTree,
  type SessionFolder,
  sessionFolder,
  writeAtomically,
} from './session-folder.ts'

export interface SessionDeps {
  readonly options: LocalLauncherOptions
  readonly memory: MemoryLimiter | undefined
  readonly processes: ProcessTable
  /** Something that `list` shows changed. */
  readonly changed: () => void
  /** Look at the sessions soon. */
  readonly wake: () => void
}

type Program = 'host' | 'work'

/** Waits before a host that died is started again; the last one repeats. */
const RESTART_DELAYS_MS = [0, 200, 1_000, 5_000]
/** Wait before a removal that failed is tried again. */
const REMOVE_RETRY_MS = 5_000
/** A host that lived this long has recovered. */
const HEALTHY_AFTER_MS = 30_000
/** How long a new host is asked for its port often. */
const SETTLING_MS = 30_000
const DEFAULT_SPOOL_BYTES = 1024 ** 3

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
  record: LaunchRecord | undefined
  /** Everything of it has been cleared away. */
  gone = false
  #address: Address | undefined
  #workLost = false
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
      await makeSessionFolder(this.folder)
      await writeAtomically(this.folder.identity, identity.token)
      const cgroup = (await this.#deps.memory?.create(this.sessionId)) ?? null
      const { tokenHash, podUid } = identity
      const start = { version: 1, work: null, host: null, removing: false } as const
      await this.#write({ ...start, sessionId: this.sessionId, podUid, tokenHash, cgroup })
      await this.#ensureProcesses()
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

  async describe(): Promise<Launched | undefined> {
    const record = this.record
    if (record === undefined || record.removing) return undefined
    const address = this.#address
    const oomKilled = record.cgroup !== null && ((await this.#deps.memory?.oomKilled(record.cgroup)) ?? false)
    return { sessionId: this.sessionId, podUid: record.podUid, oomKilled, ...(address && { address }) }
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
    if (work !== null && !alive.has(work.pid) && !this.#workLost) {
      this.#workLost = true
      this.#deps.changed()
    }
    // Our own child has ended when Node says so: then its exit code is there too.
    const ended = this.#child === undefined ? host === null || !alive.has(host.pid) : this.#exit !== undefined
    if (ended) return this.#hostEnded()
    if (this.#address !== undefined) return
    this.#address = await readEndpoint(this.folder.endpoint)
    if (this.#address !== undefined) this.#deps.changed()
  }

  /** Resolves when nothing is under way any more. */
  release(): Promise<void> {
    this.#child?.removeAllListeners('exit')
    return this.#queue
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

  #removeInBackground(): void {
    if (Date.now() < this.#removeAt) return
    this.remove().catch((err: unknown) => {
      this.#removeAt = Date.now() + REMOVE_RETRY_MS
      this.#deps.options.logger.error({ err, sessionId: this.sessionId }, 'session could not be cleared away')
    })
  }

  async #ensureProcesses(): Promise<void> {
    const record = this.record!
    if (record.work === null) {
      await this.#endUnrecorded('work')
      await this.#write({ ...record, work: await this.#start('work') })
    }
    if (this.record!.host === null) {
      await this.#endUnrecorded('host')
      await rm(this.folder.endpoint, { force: true })
      this.#address = undefined
      const host = await this.#start('host')
      this.#restartAt = undefined
      this.#hostStartedAt = Date.now()
      await this.#write({ ...this.record!, host })
    }
  }

  async #start(program: Program): Promise<ProcessMark> {
    const { hostProgram, workProgram } = this.#deps.options
    const log = await open(path.join(this.folder.root, `${program}.log`), 'a', 0o600)
    try {
      const child = spawn(process.execPath, [program === 'host' ? hostProgram : workProgram, this.sessionId], {
        cwd: this.folder.root,
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        env: this.#environment(program),
      })
      const failed = new Promise<never>((_, reject) => child.once('error', reject))
      failed.catch(() => undefined)
      child.unref()
      if (program === 'host') this.#watch(child)
      const { pid } = child
      if (pid === undefined) return await failed
      if (program === 'work' && this.record!.cgroup !== null) await this.#deps.memory?.add(this.record!.cgroup, pid)
      // One that has ended already gets a mark that fits no process.
      return (await this.#deps.processes.find(pid)) ?? { pid, start: 'ended' }
    } finally {
      await log.close()
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

  #environment(program: Program): Record<string, string> {
    const { folder } = this
    const { options } = this.#deps
    const both = {
      ...options.environment,
      CLISCALE_SESSION_ID: this.sessionId,
      CLISCALE_WORK_SOCKET: folder.workSocket,
      CLISCALE_WORKSPACE_DIR: folder.workspace,
    }
    if (program === 'work') return { ...both, HOME: folder.home, CLISCALE_HOME_DIR: folder.home }
    return {
      ...both,
      HOME: folder.root,
      CLISCALE_CONTROLLER_URL: options.controllerUrl,
      CLISCALE_IDENTITY_TOKEN_FILE: folder.identity,
      CLISCALE_SPOOL_DIR: folder.spool,
      CLISCALE_SPOOL_MAX_BYTES: String(options.spoolMaxBytes ?? DEFAULT_SPOOL_BYTES),
      CLISCALE_LISTEN: '127.0.0.1:0',
      CLISCALE_ENDPOINT_FILE: folder.endpoint,
    }
  }

  async #endUnrecorded(program: Program): Promise<void> {
    const { hostProgram, workProgram } = this.#deps.options
    const { processes } = this.#deps
    const entry = program === 'host' ? hostProgram : workProgram
    for (let attempt = 0; ; attempt++) {
      const found = await processes.ofProgram(entry, this.sessionId)
      if (found.length === 0) return
      if (attempt === 40) throw new Error(`a ${program} process of an earlier launch does not end`)
      for (const mark of found) await signalProcess(processes, mark, 'SIGKILL')
      await sleep(25)
    }
  }

  async #clear(): Promise<void> {
    const { folder, record } = this
    if (record !== undefined && !record.removing) await this.#write({ ...record, removing: true })
    // Seen before work ends: a child with another environment is known by its parents only.
    const family = await this.#deps.processes.ofSession(this.#sessionMark())
    await this.#terminate()
    await this.#killEverything(family)
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
    this.gone = true
    this.#deps.changed()
    this.#deps.wake()
  }

  /** SIGTERM to host and work, and time to end by themselves. */
  async #terminate(): Promise<void> {
    const { processes, options } = this.#deps
    const marks = this.marks()
    const told = await Promise.all(marks.map((mark) => signalProcess(processes, mark, 'SIGTERM')))
    const deadline = Date.now() + (options.termGraceMs ?? 2_000)
    for (let left = marks.filter((_, i) => told[i]); left.length > 0 && Date.now() < deadline;) {
      await sleep(20)
      const alive = await processes.alive(left)
      left = left.filter((mark) => alive.has(mark.pid))
    }
  }

  #sessionMark(): SessionMark {
    const { hostProgram, workProgram } = this.#deps.options
    return { sessionId: this.sessionId, programs: [hostProgram, workProgram] }
  }

  async #killEverything(family: readonly ProcessMark[]): Promise<void> {
    const { processes, memory } = this.#deps
    for (let attempt = 0; attempt < 100; attempt++) {
      const grouped = this.record?.cgroup ? ((await memory?.members(this.record.cgroup)) ?? []) : []
      const inGroup = await Promise.all(grouped.map((pid) => processes.find(pid)))
      const marked = await processes.ofSession(this.#sessionMark())
      const found = [...family, ...this.marks(), ...marked, ...inGroup].filter((mark) => mark !== undefined)
      const alive = await processes.alive(found)
      const left = found.filter((mark) => alive.has(mark.pid))
      if (left.length === 0) return
      for (const mark of left) await signalProcess(processes, mark, 'SIGKILL')
      await sleep(Math.min(10 * (attempt + 1), 100))
    }
    throw new Error('processes of the session do not end, although they were killed')
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
