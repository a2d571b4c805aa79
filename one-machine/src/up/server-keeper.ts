import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { HUNG_AFTER_MS, Watchdog } from '@cliscale/service-kit'
import { isRunning, markOf, type ProcessMark } from '@cliscale/service-kit/process-mark'
import type { FromServer, ServerStart, ToServer } from '../server-messages.ts'
import type { Paths } from './data-dir.ts'
import { killSessions } from './kill-sessions.ts'
import { keepLogSmall, rotate } from './log-rotation.ts'
import type { Printer } from './printer.ts'
import { UserError } from './user-error.ts'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000
/** A server that ran this long was well: its next restart waits no longer than the first. */
const WELL_MS = 30_000
/** How long a server that is told to stop may take to say that it does, in milliseconds: one that hangs never will. */
const CONFIRM_MS = 3_000
/** How often a server is looked at, in milliseconds, and how much longer its first sign of life may take. */
const LOOK_MS = 1_000
const START_GRACE_MS = 45_000

export interface ServerKeeper {
  readonly port: number
  /**
   * Ends sessions and server in order, within `limitMs`. A server that hangs, or dies on the way, is replaced by one that
   * ends the sessions; what does not end in time is killed.
   */
  stop(limitMs: number): Promise<void>
  /** Kills server and sessions. */
  kill(): Promise<void>
}

/**
 * Starts the server as a process of its own, and again whenever it ends by itself: on the same port, with sessions
 * running on; one that hangs is killed for it. It ends by itself when we are gone. The caller stops it.
 *
 * @throws UserError with the server's own sentence when it cannot start the first time; the system's error when that
 *   starts no process.
 */
export async function keepServer(options: {
  program: string
  start: Omit<ServerStart, 'type'>
  paths: Paths
  printer: Printer
  environment: NodeJS.ProcessEnv
  /** How long a server may hang, in milliseconds. */
  hungAfterMs?: number
}): Promise<ServerKeeper> {
  const keeper = new Keeper(options)
  await keeper.startFirst()
  return keeper
}

class Keeper implements ServerKeeper {
  readonly #options: Parameters<typeof keepServer>[0]
  #child: ChildProcess | undefined
  #isStopping = false
  #isKilling = false
  /** The server that was killed because it hung. */
  #hung: ChildProcess | undefined
  readonly #log: { stop(): void }
  #kept: Promise<void> = Promise.resolve()
  port = 0

  constructor(options: Parameters<typeof keepServer>[0]) {
    this.#options = options
    this.#log = keepLogSmall(options.paths.serverLog)
  }

  async startFirst(): Promise<void> {
    const child = await this.#spawn()
    this.port = await untilListening(child)
    this.#kept = this.#keep(child)
  }

  async stop(limitMs: number): Promise<void> {
    this.#isStopping = true
    const until = Date.now() + limitMs
    let endedInOrder = await endInOrder(this.#child, until)
    await this.#kept
    // A server that hung, failed on its way out, or was not there at that moment, left its sessions running.
    if (!endedInOrder) endedInOrder = await this.#startToEnd(until)
    if (!endedInOrder && !this.#isKilling) await killSessions(this.#options.paths)
    this.#log.stop()
    await rm(this.#options.paths.serverMark, { force: true })
  }

  /** Starts a server whose one task is to end the sessions in order. Returns whether it did. */
  async #startToEnd(until: number): Promise<boolean> {
    const limitMs = until - Date.now()
    if (this.#isKilling || limitMs <= 0) return false
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), limitMs)
    try {
      const child = await this.#spawn()
      if (this.#isKilling) child.kill('SIGKILL')
      await untilListening(child)
      return await endInOrder(child, until)
    } catch {
      this.#child?.kill('SIGKILL')
      return false
    } finally {
      clearTimeout(timer)
    }
  }

  async kill(): Promise<void> {
    this.#isStopping = true
    this.#isKilling = true
    this.#child?.kill('SIGKILL')
    await this.#kept
    await killSessions(this.#options.paths)
  }

  async #keep(first: ChildProcess): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS
    for (let child = first; ;) {
      const began = Date.now()
      const gone = await untilGone(child)
      const how =
        this.#hung === child ? `it did not answer for ${(this.#options.hungAfterMs ?? HUNG_AFTER_MS) / 1000} s` : gone
      if (this.#isStopping) return
      pauseMs = Date.now() - began > WELL_MS ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
      this.#options.printer.line(`The server died (${how}). Restarting it; sessions keep running.`)
      await sleep(pauseMs)
      if (this.#isStopping) return
      const next = await this.#spawn().catch((error: Error) => {
        this.#child?.kill('SIGKILL')
        this.#options.printer.line(`The server cannot be started right now: ${error.message}`)
      })
      // The disk is full, say: it is tried again for as long as we are wanted.
      if (next === undefined) continue
      child = next
      // A stop that came while it was being started knew of its predecessor only.
      if (this.#isStopping) child.kill('SIGKILL')
      const back = await untilListening(child).then(
        () => undefined,
        (error: Error) => error.message,
      )
      if (this.#isStopping) return await untilGone(child).then(() => undefined)
      this.#options.printer.line(back ?? 'The server is back.')
    }
  }

  async #spawn(): Promise<ChildProcess> {
    const { start, paths } = this.#options
    const child = await this.#fork()
    const mark = await markOf(child.pid!)
    if (mark !== undefined) await writeFile(paths.serverMark, JSON.stringify(mark), { mode: 0o600 })
    const env = this.port === 0 ? start.env : { ...start.env, CLISCALE_PORT: String(this.port) }
    send(child, { type: 'start', ...start, env })
    return child
  }

  /** @throws Error when the system starts no process. */
  async #fork(): Promise<ChildProcess> {
    const { program, paths, environment } = this.#options
    rotate(paths.serverLog)
    const log = await open(paths.serverLog, 'a', 0o600)
    try {
      // A session of its own (setsid), so that Ctrl-C reaches the supervisor first.
      // The data folder is an argument for `ps` alone: it tells people whose server it is.
      const child = fork(program, [paths.root], {
        detached: true,
        env: environment,
        execArgv: ['--enable-source-maps'],
        stdio: ['ignore', log.fd, log.fd, 'ipc'],
      })
      // Node tells a refusal on the next tick: without a listener by then, it would end us.
      child.on('error', () => {})
      if (child.pid === undefined) throw (await once(child, 'error'))[0]
      this.#child = child
      this.#watch(child)
      return child
    } finally {
      await log.close()
    }
  }

  /** Ends a server whose event loop stands still: only its death makes `#keep` start another. */
  #watch(child: ChildProcess): void {
    const limitMs = this.#options.hungAfterMs ?? HUNG_AFTER_MS
    const watchdog = new Watchdog({ limitMs, tickMs: LOOK_MS, graceMs: START_GRACE_MS })
    child.on('message', () => watchdog.beat())
    const timer = setInterval(() => {
      if (!watchdog.tick()) return
      clearInterval(timer)
      this.#hung = child
      child.kill('SIGKILL')
    }, LOOK_MS)
    child.once('exit', () => clearInterval(timer))
    child.once('error', () => clearInterval(timer))
  }
}

/** Tells a server to end its sessions and itself. Returns whether it did; one that does not say so soon is killed. */
async function endInOrder(child: ChildProcess | undefined, until: number): Promise<boolean> {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return false
  const gone = once(child, 'exit')
  const limit = setTimeout(() => child.kill('SIGKILL'), until - Date.now())
  const confirm = setTimeout(() => child.kill('SIGKILL'), CONFIRM_MS)
  child.on('message', (message: FromServer) => {
    if (message.type === 'stopping') clearTimeout(confirm)
  })
  send(child, { type: 'stop' })
  await gone
  clearTimeout(limit)
  clearTimeout(confirm)
  return child.exitCode === 0
}

function send(child: ChildProcess, message: ToServer): void {
  if (child.connected) child.send(message, () => {})
}

function untilListening(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null, signal: string | null): void =>
      reject(new UserError(`The server ended before it was ready (${signal ?? `exit code ${code}`}). See its log.`))
    // It may have ended before anybody asked.
    if (child.exitCode !== null || child.signalCode !== null) return onExit(child.exitCode, child.signalCode)
    child.once('exit', onExit)
    child.once('error', reject)
    child.on('message', (message: FromServer) => {
      if (message.type !== 'listening' && message.type !== 'failed') return
      child.off('exit', onExit)
      if (message.type === 'listening') resolve(message.port)
      else reject(new UserError(message.sentence, message.exitCode))
    })
  })
}

async function untilGone(child: ChildProcess): Promise<string> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.signalCode ?? `exit code ${child.exitCode}`
}

/** A server whose supervisor was killed ends by itself, but may not have got there yet: it still has the port. */
export async function stopLeftServer(file: string): Promise<void> {
  const mark = await readFile(file, 'utf8').then(
    (text) => JSON.parse(text) as ProcessMark,
    () => undefined,
  )
  if (mark === undefined) return
  for (let waitedMs = 0; await isRunning(mark); waitedMs += 50) {
    if (waitedMs === 3_000) process.kill(mark.pid, 'SIGKILL')
    await sleep(50)
  }
  await rm(file, { force: true })
}
