import { type ChildProcess, spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { STOP_LIMITS, WORK_STOP_SIGNAL } from '@cliscale/contract'
import type { ProcessMark } from '@cliscale/service-kit/process-mark'
import type { LocalLauncherOptions } from './launcher-options.ts'
import { type ProcessTable, type SessionMark, signalProcess } from './process-table.ts'
import type { SessionFolder } from './session-folder.ts'
import type { SessionGroups } from './session-group.ts'

export interface ProcessDeps {
  readonly options: LocalLauncherOptions
  readonly groups: SessionGroups | undefined
  readonly processes: ProcessTable
}

export type Program = 'host' | 'work'

const DEFAULT_SPOOL_BYTES = 1024 ** 3
const KILL_ATTEMPTS = 100

/** Starts and ends the processes of one session. Keeps nothing: what runs is asked of the system. */
export class SessionProcesses {
  readonly #deps: ProcessDeps
  readonly #folder: SessionFolder
  readonly #session: SessionMark

  constructor(deps: ProcessDeps, folder: SessionFolder, sessionId: string) {
    const { hostProgram, workProgram } = deps.options
    this.#deps = deps
    this.#folder = folder
    this.#session = { sessionId, programs: [hostProgram, workProgram] }
  }

  /**
   * Starts a program, detached, with its output in a file; `watch` gets it before it can end.
   *
   * @throws Error when it could not be started or put into its group; then it does not run.
   */
  async start(program: Program, group: string | null, watch?: (child: ChildProcess) => void) {
    const log = await open(path.join(this.#folder.state, `${program}.log`), 'a', 0o600)
    try {
      const child = spawn(process.execPath, [this.#entry(program), this.#session.sessionId], {
        cwd: program === 'host' ? this.#folder.state : this.#folder.root,
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        env: this.#environment(program),
      })
      const failed = new Promise<never>((_, reject) => child.once('error', reject))
      failed.catch(() => undefined)
      child.unref()
      watch?.(child)
      const { pid } = child
      if (pid === undefined) return await failed
      // One that has ended already gets a mark that fits no process.
      const mark = (await this.#deps.processes.find(pid)) ?? { pid, start: 'ended' }
      if (group !== null) await this.#limit(group, mark)
      return { child, mark }
    } finally {
      await log.close()
    }
  }

  /** Kills every process of a program for this session: ones that were started and never written down. */
  async endAll(program: Program): Promise<void> {
    const { processes } = this.#deps
    const find = () => processes.ofProgram(this.#entry(program), this.#session.sessionId)
    await this.#killUntilNone(find, `a ${program} process of an earlier launch does not end`)
  }

  /** Everything that is known to be the session's now. */
  family(): Promise<readonly ProcessMark[]> {
    return this.#deps.processes.ofSession(this.#session)
  }

  /** SIGTERM, and nothing more. */
  async tellToEnd(mark: ProcessMark): Promise<void> {
    await signalProcess(this.#deps.processes, mark, 'SIGTERM')
  }

  /** Asks work to stop its command on request, without its host. If that fails, the end by force is left. */
  async tellToStop(work: ProcessMark | null): Promise<void> {
    if (work !== null) await signalProcess(this.#deps.processes, work, WORK_STOP_SIGNAL).catch(() => false)
  }

  /** A process that somebody stopped goes on. If that fails, the end by force is left. */
  async letGoOn(mark: ProcessMark | null): Promise<void> {
    if (mark !== null) await signalProcess(this.#deps.processes, mark, 'SIGCONT').catch(() => false)
  }

  /** SIGTERM, and time to end by themselves. */
  async terminate(marks: readonly ProcessMark[]): Promise<void> {
    const { processes, options } = this.#deps
    // What may not be signalled, such as a program of another user, is left to the end by force.
    const tell = (signal: NodeJS.Signals) =>
      Promise.all(marks.map((mark) => signalProcess(processes, mark, signal).catch(() => false)))
    const told = await tell('SIGTERM')
    // One that is stopped hears it only then.
    await tell('SIGCONT')
    const deadline = Date.now() + (options.termGraceMs ?? STOP_LIMITS.leaveMs)
    for (let left = marks.filter((_, i) => told[i]); left.length > 0 && Date.now() < deadline;) {
      await sleep(20)
      const alive = await processes.alive(left)
      left = left.filter((mark) => alive.has(mark.pid))
    }
  }

  /** Kills these and all that is found, again and again until nothing is. */
  async killEverything(known: readonly ProcessMark[], group: string | null): Promise<void> {
    const find = async () => {
      if (group !== null) await this.#deps.groups?.kill(group)
      return [...known, ...(await this.family()), ...(await this.#members(group))]
    }
    await this.#killUntilNone(find, 'processes of the session do not end, although they were killed')
  }

  async #killUntilNone(find: () => Promise<readonly ProcessMark[]>, complaint: string): Promise<void> {
    const { processes } = this.#deps
    for (let attempt = 1; attempt <= KILL_ATTEMPTS; attempt++) {
      const found = await find()
      const alive = await processes.alive(found)
      const left = found.filter((mark) => alive.has(mark.pid))
      if (left.length === 0) return
      const faults: unknown[] = []
      for (const mark of left) await signalProcess(processes, mark, 'SIGKILL').catch((error) => faults.push(error))
      // Those that it may not signal hold up nothing but themselves.
      if (faults.length === left.length && attempt >= 10) throw faults[0]
      await sleep(Math.min(10 * attempt, 100))
    }
    throw new Error(complaint)
  }

  async #members(group: string | null): Promise<ProcessMark[]> {
    const { groups, processes } = this.#deps
    if (group === null || groups === undefined) return []
    const found = await Promise.all((await groups.members(group)).map((pid) => processes.find(pid)))
    return found.filter((mark) => mark !== undefined)
  }

  async #limit(group: string, mark: ProcessMark): Promise<void> {
    try {
      await this.#deps.groups?.add(group, mark.pid)
    } catch (error) {
      // It may have ended by itself; what runs must not run outside.
      if (await signalProcess(this.#deps.processes, mark, 'SIGKILL')) throw error
    }
  }

  #entry(program: Program): string {
    const { hostProgram, workProgram } = this.#deps.options
    return program === 'host' ? hostProgram : workProgram
  }

  #environment(program: Program): Record<string, string> {
    const folder = this.#folder
    const { options } = this.#deps
    const both = {
      ...options.environment,
      CLISCALE_SESSION_ID: this.#session.sessionId,
      CLISCALE_WORK_SOCKET: folder.workSocket,
      CLISCALE_WORKSPACE_DIR: folder.workspace,
    }
    if (program === 'work')
      return { ...both, HOME: folder.home, CLISCALE_HOME_DIR: folder.home, CLISCALE_TMP_DIR: folder.tmp }
    return {
      ...both,
      HOME: folder.state,
      CLISCALE_CONTROLLER_URL: options.controllerUrl,
      CLISCALE_IDENTITY_TOKEN_FILE: folder.identity,
      CLISCALE_SPOOL_DIR: folder.spool,
      CLISCALE_SPOOL_MAX_BYTES: String(options.spoolMaxBytes ?? DEFAULT_SPOOL_BYTES),
      CLISCALE_LISTEN: '127.0.0.1:0',
      CLISCALE_ENDPOINT_FILE: folder.endpoint,
    }
  }
}
