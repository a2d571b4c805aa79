import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FromServer, ServerStart, ToServer } from '../server-messages.ts'
import type { Paths } from './data-dir.ts'
import { killSessions } from './kill-sessions.ts'
import type { Printer } from './printer.ts'
import { isRunning, markOf, type ProcessMark } from './process-mark.ts'
import { UserError } from './user-error.ts'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000
/** A server that ran this long was well: its next restart waits no longer than the first. */
const WELL_MS = 30_000
const LOG_MAX_BYTES = 16 * 1024 * 1024

export interface ServerKeeper {
  readonly port: number
  /** Ends sessions and server in order, within `limitMs`; what does not end is killed. */
  stop(limitMs: number): Promise<void>
  /** Kills server and sessions. */
  kill(): Promise<void>
}

/**
 * Starts the server as a process of its own, and again whenever it ends by itself: on the same port, with sessions
 * running on. It ends by itself when we are gone. The caller stops it.
 *
 * @throws UserError with the server's own sentence when it cannot start the first time.
 */
export async function keepServer(options: {
  program: string
  start: Omit<ServerStart, 'type'>
  paths: Paths
  printer: Printer
  environment: NodeJS.ProcessEnv
}): Promise<ServerKeeper> {
  const keeper = new Keeper(options)
  await keeper.startFirst()
  return keeper
}

class Keeper implements ServerKeeper {
  readonly #options: Parameters<typeof keepServer>[0]
  #child: ChildProcess | undefined
  /** The server that was told to end in order. */
  #told: ChildProcess | undefined
  #isStopping = false
  #kept: Promise<void> = Promise.resolve()
  port = 0

  constructor(options: Parameters<typeof keepServer>[0]) {
    this.#options = options
  }

  async startFirst(): Promise<void> {
    const child = await this.#spawn()
    this.port = await untilListening(child)
    this.#kept = this.#keep(child)
  }

  async stop(limitMs: number): Promise<void> {
    this.#isStopping = true
    const child = this.#child
    let endedInOrder = false
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      this.#told = child
      const gone = once(child, 'exit')
      send(child, { type: 'stop' })
      const timer = setTimeout(() => child.kill('SIGKILL'), limitMs)
      await gone
      clearTimeout(timer)
      endedInOrder = child.exitCode === 0
    }
    await this.#kept
    // A server that failed on its way out, or was not there at that moment, left its sessions running.
    if (!endedInOrder) await killSessions(this.#options.paths)
    await rm(this.#options.paths.serverMark, { force: true })
  }

  async kill(): Promise<void> {
    this.#isStopping = true
    this.#child?.kill('SIGKILL')
    await this.#kept
    await killSessions(this.#options.paths)
  }

  async #keep(first: ChildProcess): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS
    for (let child = first; ;) {
      const began = Date.now()
      const how = await untilGone(child)
      if (this.#isStopping) return
      pauseMs = Date.now() - began > WELL_MS ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
      this.#options.printer.line(`The server has ended (${how}); starting it again. Sessions go on.`)
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
      if (this.#isStopping && this.#told !== child) child.kill('SIGKILL')
      const back = await untilListening(child).then(
        () => undefined,
        (error: Error) => error.message,
      )
      if (this.#isStopping) return await untilGone(child).then(() => undefined)
      this.#options.printer.line(back ?? 'The server is back.')
    }
  }

  async #spawn(): Promise<ChildProcess> {
    const { program, start, paths, environment } = this.#options
    await rotate(paths.serverLog)
    const log = await open(paths.serverLog, 'a', 0o600)
    // A session of its own (setsid), so that Ctrl-C reaches the supervisor first.
    // The data folder is an argument for `ps` alone: it tells people whose server it is.
    const child = fork(program, [paths.root], {
      detached: true,
      env: environment,
      execArgv: ['--enable-source-maps'],
      stdio: ['ignore', log.fd, log.fd, 'ipc'],
    })
    await log.close()
    child.on('error', () => {})
    this.#child = child
    const mark = child.pid === undefined ? undefined : await markOf(child.pid)
    if (mark !== undefined) await writeFile(paths.serverMark, JSON.stringify(mark), { mode: 0o600 })
    const env = this.port === 0 ? start.env : { ...start.env, CLISCALE_PORT: String(this.port) }
    send(child, { type: 'start', ...start, env })
    return child
  }
}

function send(child: ChildProcess, message: ToServer): void {
  if (child.connected) child.send(message, () => {})
}

function untilListening(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null, signal: string | null): void =>
      reject(new UserError(`The server ended before it was ready (${signal ?? `exit code ${code}`}). See its log.`))
    child.once('exit', onExit)
    child.once('error', reject)
    child.on('message', (message: FromServer) => {
      child.off('exit', onExit)
      if (message.type === 'listening') resolve(message.port)
      else reject(new UserError(message.sentence, message.exitCode))
    })
  })
}

async function untilGone(child: ChildProcess): Promise<string> {
  if (child.pid === undefined) return 'it could not be started'
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

/** Keeps the log at two files of a bounded size, looked at when a server starts. */
async function rotate(file: string): Promise<void> {
  const size = await stat(file).then(
    (info) => info.size,
    () => 0,
  )
  if (size > LOG_MAX_BYTES) await rename(file, `${file}.1`)
}
