import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { mkdir, readdir } from 'node:fs/promises'
import path from 'node:path'
import { SESSION_ID_PATTERN } from '@cliscale/contract'
import type { Identified, Launched, Launcher, LaunchRequest } from '../launcher.ts'
import { LocalSession, type SessionDeps } from './local-session.ts'
import { PROBE_EVERY_MS } from './host-probe.ts'
import type { LocalLauncherOptions } from './launcher-options.ts'
import { createProcessTable } from './process-table.ts'
import { LAUNCHES, readLaunchRecord, sessionFolder, SESSIONS } from './session-folder.ts'
import { findSessionGroups } from './session-group.ts'

/** sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included. */
const MAX_SOCKET_PATH_BYTES = process.platform === 'linux' ? 107 : 103

/**
 * A launcher whose sessions are processes of this machine: host and work, each detached, known by pid and start time,
 * recorded in the session's folder. They outlive this process; the next launcher on the same folder finds them.
 *
 * It must be the only one on its data folder. The caller closes it.
 */
export async function createLocalLauncher(options: LocalLauncherOptions): Promise<Launcher> {
  const longest = Buffer.byteLength(sessionFolder('/', options.runDir, randomUUID()).workSocket)
  if (longest > MAX_SOCKET_PATH_BYTES)
    throw new TypeError(`runDir is too long for Unix sockets by ${longest - MAX_SOCKET_PATH_BYTES} bytes`)
  const launcher = new LocalLauncher(options, await sessionGroups(options))
  await launcher.recover()
  return launcher
}

async function sessionGroups({ memoryMaxBytes, logger }: LocalLauncherOptions): Promise<SessionDeps['groups']> {
  const found = await findSessionGroups(memoryMaxBytes)
  if (found !== undefined || memoryMaxBytes === undefined) return found
  logger.warn('sessions run without a memory limit: this system does not let us set one')
  return findSessionGroups(undefined)
}

class LocalLauncher implements Launcher {
  readonly #deps: SessionDeps
  readonly #sessions = new Map<string, LocalSession>()
  readonly #listeners = new Set<() => void>()
  readonly #pollMs: number
  #timer: NodeJS.Timeout | undefined
  #prober: NodeJS.Timeout | undefined
  #polling: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: LocalLauncherOptions, groups: SessionDeps['groups']) {
    this.#pollMs = options.pollMs ?? 400
    this.#deps = {
      options,
      groups,
      processes: options.processes ?? createProcessTable(),
      changed: () => this.#changed(),
      wake: () => this.#schedule(0),
    }
  }

  /** Takes up what an earlier launcher left: running sessions, launches half done, removals half done. */
  async recover(): Promise<void> {
    const { dataDir, runDir } = this.#deps.options
    const folders = [path.join(dataDir, SESSIONS), path.join(dataDir, LAUNCHES)]
    for (const dir of [...folders, runDir]) await mkdir(dir, { recursive: true, mode: 0o700 })
    const names = (await Promise.all(folders.map((dir) => readdir(dir)))).flat()
    const ids = new Set(names.filter((name) => SESSION_ID_PATTERN.test(name)))
    await Promise.all([...ids].map((sessionId) => this.#takeUp(sessionId)))
    await this.#deps.groups?.sweep().catch((err: unknown) => {
      this.#deps.options.logger.warn({ err }, 'control groups of earlier sessions could not be removed')
    })
    this.#schedule(0)
    this.#prober = setInterval(() => this.#probe(), this.#deps.options.probe?.everyMs ?? PROBE_EVERY_MS)
  }

  async launch({ sessionId }: LaunchRequest): Promise<void> {
    if (!SESSION_ID_PATTERN.test(sessionId)) throw new TypeError('a session id is a lower-case UUID')
    if (this.#closed) throw new Error('the launcher is closed')
    let session = this.#sessions.get(sessionId)
    if (session === undefined) {
      session = new LocalSession(this.#deps, sessionId)
      this.#sessions.set(sessionId, session)
    }
    try {
      const token = `cs_launch_${sessionId}_${randomBytes(32).toString('base64url')}`
      await session.launch({ token, tokenHash: hash(token).toString('hex'), launchId: randomUUID() })
    } finally {
      this.#schedule(0)
    }
  }

  async list(): Promise<readonly Launched[]> {
    const launched = await Promise.all([...this.#sessions.values()].map((session) => session.describe()))
    return launched.filter((entry) => entry !== undefined)
  }

  async refresh(): Promise<void> {
    // A list is always made anew.
  }

  async identify(token: string): Promise<Identified | undefined> {
    const sessionId = /^cs_launch_([0-9a-f-]{36})_[\w-]{43}$/.exec(token)?.[1]
    const session = this.#sessions.get(sessionId ?? '')
    const expected = session?.record?.tokenHash
    if (session === undefined || expected === undefined) return undefined
    return timingSafeEqual(hash(token), Buffer.from(expected, 'hex')) ? await session.describe() : undefined
  }

  async remove(sessionId: string, launchId?: string): Promise<void> {
    const session = this.#sessions.get(sessionId)
    if (session === undefined) return
    await session.remove(launchId)
  }

  expectEnd(sessionId: string): void {
    this.#sessions.get(sessionId)?.expectEnd()
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    clearInterval(this.#prober)
    this.#listeners.clear()
    await this.#polling
    await Promise.all([...this.#sessions.values()].map((session) => session.release()))
  }

  async #takeUp(sessionId: string): Promise<void> {
    const session = new LocalSession(this.#deps, sessionId)
    this.#sessions.set(sessionId, session)
    try {
      const record = await readLaunchRecord(session.folder.record, sessionId)
      // Without a record nothing was started, but for a crash of the machine that left the file empty.
      await (record === undefined || record.removing ? session.remove() : session.adopt(record))
    } catch (err) {
      this.#deps.options.logger.error({ err, sessionId }, 'a session could not be resumed')
    }
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }

  #schedule(afterMs: number): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#polling = this.#polling.then(() => this.#poll())
    }, afterMs)
  }

  /** One session that cannot be looked after (its folder is gone, say) does not keep the others from it. */
  async #check(session: LocalSession, alive: ReadonlySet<number>): Promise<void> {
    try {
      await session.check(alive)
    } catch (err) {
      this.#deps.options.logger.error({ err, sessionId: session.sessionId }, 'a session could not be checked')
    }
  }

  #probe(): void {
    for (const session of this.#sessions.values()) {
      session.probe().catch((err: unknown) => {
        this.#deps.options.logger.error({ err, sessionId: session.sessionId }, 'a hung host could not be killed')
      })
    }
  }

  async #poll(): Promise<void> {
    let hurry = false
    try {
      const sessions = [...this.#sessions.values()]
      const marks = sessions.flatMap((session) => session.marks())
      const alive = await this.#deps.processes.alive(marks)
      for (const session of sessions) {
        if (this.#closed) return
        await this.#check(session, alive)
        hurry ||= session.settling
        if (session.gone && !session.busy) this.#sessions.delete(session.sessionId)
      }
    } catch (err) {
      this.#deps.options.logger.error({ err }, 'the sessions could not be checked')
    }
    // A timer that was set meanwhile is an earlier one.
    if (this.#timer === undefined) this.#schedule(hurry ? Math.min(50, this.#pollMs) : this.#pollMs)
  }
}

function hash(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
