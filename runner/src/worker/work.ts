import { timingSafeEqual } from 'node:crypto'
import { mkdir, stat } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { DEFAULT_SIZE, STOP_LIMITS, type TerminalSize } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import { FlightWindow } from '../relay/flight-window.ts'
import type { EndCause, HostMessage, PreparedOrder, WorkExit, WorkStage, WorkState } from '../relay/messages.ts'
import { doneLine, failedLine, mayLeaveState, noteLine, plain, TERMINAL_RESET } from '../relay/stage-lines.ts'
import { commandEnvironment } from './environment.ts'
import { HostConnection } from './host-connection.ts'
import { installEnvironment, planInstall, withPlan } from './install/plan.ts'
import type { InstallPart, InstallStep } from './install/part.ts'
import { findBash, LaunchFailure, runFailure } from './launch-check.ts'
import { countOomKills } from './oom.ts'
import { OutputBuffer } from './output-buffer.ts'
import { PtyRun, type RunExit } from './pty-run.ts'
import { takeCode } from './take-code.ts'
import { TypedInput } from './typed-input.ts'

/** Output that no host has acknowledged; at this much the terminal is not read on, and the command blocks. */
const MAX_UNACKNOWLEDGED_BYTES = 8 * 1024 * 1024
/** While a host is there: what keeps it busy for about so long. More would be in front of what Ctrl-C ends. */
const FLIGHT = { targetMs: 50, minBytes: 64 * 1024, startBytes: 64 * 1024, maxBytes: 4 * 1024 * 1024 } as const
/** Why a stage that has taken too long is ended. */
const OVERDUE = { installing: 'install_limit', running: 'deadline' } as const
/** As the message may have of it. */
const MAX_RAN_CHARS = 200

export interface WorkOptions {
  readonly workspaceDir: string
  readonly homeDir: string
  readonly tmpDir: string
  readonly socketPath: string
  /** Where another user put the code that is to be copied into the workspace. */
  readonly codeDir?: string | undefined
  /** Further certificates that the command is to trust. */
  readonly extraCaCerts?: string | undefined
  /** Variables of version managers, for the command. */
  readonly toolHomes: Readonly<Record<string, string>>
  /** PATH of work itself. */
  readonly path: string | undefined
  /** Between SIGTERM and SIGKILL for what the command left behind. */
  readonly sweepTermMs: number
  readonly logger: Logger
  /** work has nothing left to do; its process may exit. */
  readonly onDone: () => void
}

/** How a command ended, without what is known of every one. */
type Ended = Omit<WorkExit, 'at' | 'offset' | 'stopped'>

/**
 * Holds the terminal and runs the order in it.
 *
 * waiting -(prepare)→ prepared -(go)→ running -(command ended, all read)→ ended. quit ends it in every state.
 *
 * Output, stages and exit are kept in memory for as long as the host has not acknowledged them, whichever life of the
 * host that is; a new connection that knows the secret takes the place of the old one.
 */
export class Work {
  private readonly options: WorkOptions
  private readonly output = new OutputBuffer()
  private readonly typed = new TypedInput((progress) => this.connection?.send({ type: 'typed', progress }))
  private readonly flight = new FlightWindow({ ...FLIGHT, clock: () => performance.now() })
  private state: WorkState = 'waiting'
  private secret: string | undefined
  private connection: HostConnection | undefined
  private order: PreparedOrder | undefined
  private size: TerminalSize = DEFAULT_SIZE
  private readonly stages: WorkStage[] = []
  private run: PtyRun | undefined
  private paused = false
  private flushing = false
  private stopped: { cause: EndCause | null; graceMs: number } | undefined
  private readonly stopping = new AbortController()
  private deadline: NodeJS.Timeout | undefined
  private codeTaken = false
  private exit: WorkExit | undefined
  private exitSent = false
  private atLineStart = true
  /** Since when no host is connected; undefined while one is. */
  hostlessSinceMs: number | undefined = Date.now()

  constructor(options: WorkOptions) {
    this.options = options
  }

  get current(): WorkState {
    return this.state
  }

  /** Takes over a connection that was accepted. */
  accept(socket: Socket): void {
    const connection = new HostConnection(socket, {
      onMessage: (message, from) => this.onMessage(message, from),
      onAnswer: (bytes) => this.connection === connection && this.typed.answer(bytes),
      onTyped: (piece) => this.connection === connection && this.typed.push(piece),
      onClose: () => {
        if (this.connection !== connection) return
        this.connection = undefined
        this.hostlessSinceMs = Date.now()
        this.steer()
      },
    })
    connection.onDrain(() => this.pump())
  }

  /** Ends everything of the session at once, then calls onDone. */
  async quit(): Promise<void> {
    this.stopped ??= { cause: null, graceMs: 0 } // also what is about to be started
    this.stopping.abort()
    this.run?.stop(0)
    await this.run?.exit
    this.connection?.end()
    this.options.onDone()
  }

  /** The system asks this process to end: the command gets `graceMs`; a host is told of its exit and then says quit. */
  async endWithin(graceMs: number): Promise<void> {
    if (this.state === 'running') return this.stop('system', graceMs)
    if (this.state !== 'ended' || this.connection === undefined) await this.quit()
  }

  private onMessage(message: HostMessage, from: HostConnection): void {
    if (message.type === 'hello') return this.onHello(message, from)
    if (from !== this.connection) return from.close() // everything else needs the secret first
    switch (message.type) {
      case 'prepare':
        if (this.state === 'waiting') {
          this.order = message.order
          this.state = 'prepared'
        }
        return from.send({ type: 'prepared' })
      case 'go':
        if (this.state === 'prepared') this.start(message.size)
        return
      case 'resize':
        this.size = message.size
        return this.run?.resize(message.size)
      case 'stop':
        return this.stop(message.cause, message.graceMs)
      case 'ack':
        return this.acknowledge(message.offset)
      case 'quit':
        return void this.quit()
    }
  }

  private onHello(hello: HostMessage & { type: 'hello' }, from: HostConnection): void {
    this.secret ??= hello.secret
    const [mine, theirs] = [Buffer.from(this.secret), Buffer.from(hello.secret)]
    if (mine.length !== theirs.length || !timingSafeEqual(mine, theirs)) return refuse(from, 'the secret is wrong')
    if (hello.from < this.output.base || hello.from > this.output.head) {
      return refuse(from, `offset ${hello.from} is not within ${this.output.base} and ${this.output.head}`)
    }
    const old = this.connection
    this.connection = from
    if (old !== from) old?.close()
    this.hostlessSinceMs = undefined
    const { state, stages, codeTaken } = this
    from.send({ type: 'welcome', state, base: this.output.base, stages, codeTaken, typed: this.typed.progress })
    from.startOutput(hello.from)
    this.exitSent = false
    this.acknowledge(hello.from)
    this.pump()
  }

  private acknowledge(offset: number): void {
    this.output.acknowledge(offset)
    this.flight.acknowledged(this.output.base)
    this.steer()
  }

  /** Reads the terminal on, or not, by what is not acknowledged. */
  private steer(): void {
    const most = this.connection === undefined ? MAX_UNACKNOWLEDGED_BYTES : this.flight.bytes
    const open = this.output.unacknowledged
    if (this.paused ? open > most / 2 : open < most) {
      return
    }
    this.paused = !this.paused
    if (this.paused) this.run?.pause()
    else this.run?.resume()
  }

  /** The command is to end: it gets `graceMs` from now on. The first cause counts. */
  stop(cause: EndCause, graceMs: number): void {
    if (this.state === 'ended') return
    this.stopped ??= { cause, graceMs }
    this.stopping.abort()
    this.run?.stop(graceMs)
  }

  private emit(bytes: Buffer): void {
    this.output.append(bytes)
    this.atLineStart = bytes.at(-1) === 0x0a
    this.flight.sent(this.output.head)
    this.steer()
    if (this.flushing) return
    this.flushing = true
    // The terminal gives 4 KiB a read; what one turn of the event loop brings goes out together.
    setImmediate(() => {
      this.flushing = false
      this.pump()
    })
  }

  private emitLine(line: string): void {
    this.emit(Buffer.from(this.atLineStart ? line : `\r\n${line}`))
  }

  private resetTerminal(): void {
    const { atLineStart } = this
    this.emit(Buffer.from(TERMINAL_RESET))
    this.atLineStart = atLineStart
  }

  private pump(): void {
    const connection = this.connection
    if (connection?.sendOutput(this.output) && this.exit !== undefined && !this.exitSent) {
      this.exitSent = true
      connection.send({ type: 'exit', exit: this.exit })
    }
  }

  private start(size: TerminalSize): void {
    this.state = 'running'
    this.size = size
    const { logger } = this.options
    void this.runOrder(this.order!)
      .catch((err: unknown): Ended => {
        logger.error({ code: (err as NodeJS.ErrnoException).code }, 'the work order could not be run')
        return this.notStarted('command', err)
      })
      .then((exit) => {
        this.exit = { ...exit, stopped: this.stopped?.cause ?? null, at: now(), offset: this.output.head }
        this.state = 'ended'
        clearTimeout(this.deadline)
        this.typed[Symbol.dispose]()
        logger.info({ phase: exit.phase, exitCode: exit.exitCode, signal: exit.signal }, 'the command ended')
        this.pump()
      })
  }

  private async runOrder(order: PreparedOrder): Promise<Ended> {
    const { workspaceDir, homeDir, tmpDir, extraCaCerts, toolHomes } = this.options
    if (!(await this.takeCode())) return this.stoppedBefore('command')
    await stat(workspaceDir)
    await mkdir(tmpDir, { recursive: true, mode: 0o700 })
    const bash = await findBash()
    const ownPath = this.options.path
    const env = commandEnvironment({ order, homeDir, tmpDir, bash, ownPath, extraCaCerts, toolHomes })
    const plan = await planInstall(order.installCmd, workspaceDir, env)
    const planned = withPlan(env, plan)
    const failed = await this.install(plan, bash, installEnvironment(planned))
    if (failed !== undefined) return failed
    // A stop that came between: nothing ran that it could end.
    if (this.stopped !== undefined) return this.stoppedBefore('command')
    this.enter('running')
    return this.runCommand('command', order.command, bash, planned)
  }

  /** Undefined when all of the plan is done, or there was nothing to do. */
  private async install(plan: InstallPart, bash: string, env: Record<string, string>): Promise<Ended | undefined> {
    for (const remark of plan.remarks) this.emitLine(noteLine(remark))
    if (plan.missing === undefined && plan.steps.length === 0) return undefined
    const startedAtMs = Date.now()
    this.enter('installing')
    if (plan.missing !== undefined) return this.notStarted('install', new LaunchFailure('EINSTALL', plan.missing))
    for (const step of plan.steps) {
      if (this.stopped !== undefined) return this.stoppedBefore('install')
      const exit = await this.runStep(step, bash, env)
      if (exit.exitCode !== 0 || this.stopped !== undefined) return exit
    }
    this.emitLine(doneLine('installing', Date.now() - startedAtMs))
    return undefined
  }

  private async runStep(
    { run, shown, because }: InstallStep,
    bash: string,
    env: Record<string, string>,
  ): Promise<Ended> {
    if (shown === null) return this.runCommand('install', run, bash, env)
    const ran = plain(shown.slice(0, MAX_RAN_CHARS))
    this.emitLine(noteLine(`${ran}, because ${because}`))
    return { ...(await this.runCommand('install', run, bash, env)), ran }
  }

  /** False when it was stopped meanwhile. */
  private async takeCode(): Promise<boolean> {
    const { codeDir, workspaceDir } = this.options
    if (codeDir === undefined) return true
    try {
      this.codeTaken = await takeCode(codeDir, workspaceDir, this.stopping.signal)
    } catch (error) {
      if (this.stopped !== undefined) return false
      throw error
    }
    if (this.codeTaken) this.connection?.send({ type: 'code_taken' })
    return true
  }

  private stoppedBefore(phase: WorkExit['phase']): Ended {
    return { phase, exitCode: null, signal: 'SIGTERM', failure: null, oomKilled: false }
  }

  private async runCommand(
    phase: WorkExit['phase'],
    command: string,
    bash: string,
    env: Record<string, string>,
  ): Promise<Ended> {
    const oomBefore = await countOomKills()
    const { sessionId } = this.order!
    let leavesState = false
    this.run = PtyRun.start({
      command,
      cwd: this.options.workspaceDir,
      env,
      bash,
      size: this.size,
      session: { sessionId, spareWorkSocket: this.options.socketPath },
      isWithoutInput: phase === 'install',
      sweepTermMs: this.options.sweepTermMs,
      onOutput: (bytes) => {
        leavesState ||= phase === 'install' && mayLeaveState(bytes)
        this.emit(bytes)
      },
    })
    if (this.paused) this.run.pause()
    if (this.stopped !== undefined) this.run.stop(this.stopped.graceMs)
    this.typed.connect(this.run.input, phase)
    const exit: RunExit = await this.run.exit
    this.typed.disconnect()
    this.run = undefined
    if (leavesState) this.resetTerminal()
    const oomKilled = (await countOomKills()) > oomBefore
    if ('error' in exit) return this.notStarted(phase, exit.error)
    const isFailedInstall = phase === 'install' && exit.exitCode !== 0 && this.stopped?.cause !== 'user'
    if (isFailedInstall) this.emitLine(failedLine('the install command failed'))
    return { phase, ...exit, failure: null, oomKilled }
  }

  private notStarted(phase: WorkExit['phase'], error: unknown): Ended {
    const failed = runFailure(error)
    this.emitLine(failedLine(failed.failure.detail))
    return { phase, oomKilled: false, ...failed }
  }

  private enter(name: WorkStage['name']): void {
    const stage = { name, at: now() }
    this.stages.push(stage)
    this.connection?.send({ type: 'stage', stage })
    this.keepLimit(name)
  }

  /** Where the host does not: it hangs, or nobody starts it again. A timer's clock does not follow that of the day. */
  private keepLimit(name: WorkStage['name']): void {
    clearTimeout(this.deadline)
    const limitMs = this.order!.limitsMs?.[name]
    if (limitMs === undefined) return
    const end = (): void => this.stop(OVERDUE[name], STOP_LIMITS.graceMs)
    this.deadline = setTimeout(end, limitMs + STOP_LIMITS.backstopMs)
  }
}

function refuse(connection: HostConnection, why: string): void {
  connection.send({ type: 'refused', why })
  connection.end()
}

function now(): string {
  return new Date().toISOString()
}
