import { type ClaimResponse, STOP_LIMITS, type WorkOrder } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import { setTimeout as sleep } from 'node:timers/promises'
import { endSessionProcesses } from '../worker/session-processes.ts'
import type { TypedPiece } from '../relay/frames.ts'
import type { StopCause, WorkStage } from '../relay/messages.ts'
import { dropCode } from './drop-code.ts'
import { bringCode, type FetchCode } from './bring-code.ts'
import type { HostState } from './host-state.ts'
import { endOf, endStopped, endWithout, type EndedEvent } from './outcome.ts'
import { StopPatience } from './stop-patience.ts'
import type { StopRequest } from './stop-request.ts'
import type { SessionTerminal } from './terminal-types.ts'
import type { Timeline } from './timeline.ts'
import type { Typing } from './typing.ts'
import { dismiss, quit, type Unreachable, WorkLink, WorkUnreachable } from './work-link.ts'

/** How long work may take to listen for the first time, as its image may still be pulled, or to answer. */
const CONNECT_LIMIT_MS = 15 * 60_000
/** Breaches of the protocol, or faults of our own, before work is given up. */
const MAX_FAULTS = 3

export interface SessionOptions {
  readonly claim: ClaimResponse
  readonly terminal: SessionTerminal
  readonly timeline: Timeline
  readonly typing: Typing
  readonly state: HostState
  readonly workSocket: string
  readonly workspaceDir: string
  /** How long the install command may take. */
  readonly installLimitMs: number
  readonly fetchCode: FetchCode
  /** Confirms `started`; false: the session has ended or is to stop. Rejects when `signal` aborts. */
  readonly confirmStarted: (signal: AbortSignal) => Promise<boolean>
  readonly stop: StopRequest
  readonly onOutput: () => void
  readonly logger: Logger
  /** The process is about to end: nothing more is decided. */
  readonly signal: AbortSignal
}

/**
 * One session from its claim to its end, whatever work's state is when this begins; a host that was killed goes on
 * from there.
 */
export class Session {
  private readonly options: SessionOptions
  private link: WorkLink | undefined
  private fetched = false
  private deadline: NodeJS.Timeout | undefined
  private readonly patience = new StopPatience()
  private faults = 0
  private codeTaken = false

  constructor(options: SessionOptions) {
    this.options = options
    options.stop.onRequest(() => this.sendStop())
    // A quiet command sends nothing that `run` could wake by.
    options.signal.addEventListener('abort', () => this.close(), { once: true })
  }

  /** The terminal's answer to a query of the program. */
  answer(bytes: Uint8Array): void {
    this.link?.answer(bytes)
  }

  resize(size: { columns: number; rows: number }): void {
    this.link?.send({ type: 'resize', size })
  }

  /** Resolves to how it ended. Rejects when `signal` aborts, and on faults that a next life may not meet. */
  async run(): Promise<EndedEvent> {
    try {
      // Of an earlier life; it counts also while work does not answer.
      if (this.options.timeline.runningAt !== undefined) this.watchDeadline(this.options.timeline.runningAt)
      for (;;) {
        this.options.signal.throwIfAborted()
        const link = this.patience.isOver ? undefined : await this.connect()
        if (link === undefined) return await this.withoutWork()
        this.link = link
        this.connectTyping(link)
        const ended = await this.drive(link).catch((error: unknown) => this.afterFault(error))
        this.options.typing.disconnect()
        if (ended !== undefined) return ended
        link.close()
      }
    } finally {
      clearTimeout(this.deadline)
    }
  }

  private connectTyping(link: WorkLink): void {
    const { typing } = this.options
    const { typed } = link.welcome
    if (typed !== undefined) return typing.connect(link, typed)
    // A work of an earlier version: it takes bytes without offsets, and tells nothing of them.
    const receiver = {
      typed: ({ stream, at, bytes, ahead }: TypedPiece) => {
        if (ahead) return
        link.answer(bytes)
        const end = at + bytes.length
        typing.onProgress({ stream, received: end, taken: end, dropped: 0, isLineCut: false })
      },
    }
    typing.connect(receiver, [])
  }

  /** What work says is not trusted: the command may have it in its hands. When it stays nonsense, that is the end. */
  private afterFault(error: unknown): EndedEvent | undefined {
    const { signal, logger } = this.options
    signal.throwIfAborted()
    logger.error({ err: error }, 'the connection to work failed')
    if (++this.faults < MAX_FAULTS) return undefined
    return endWithout(
      'lost',
      'runner_lost',
      'The process that runs the command sent something that cannot be understood.',
    )
  }

  /**
   * Tells work that its exit is journaled, or that there is nothing to run; it ends what is left and exits. In a pod
   * that makes the system end the host too.
   */
  async dismissWork(): Promise<void> {
    const { state, terminal, workSocket: socketPath, signal } = this.options
    if (!this.link?.isOpen) {
      return dismiss({ socketPath, secret: state.workSecret, from: terminal.workOffset, seen: state.workSeen, signal })
    }
    await quit(this.link, socketPath, signal)
  }

  /** Closes the connection; work goes on. */
  close(): void {
    this.link?.close()
  }

  private tryConnect(): Promise<WorkLink> {
    const { workSocket: socketPath, state, terminal } = this.options
    return WorkLink.connect({ socketPath, secret: state.workSecret, from: terminal.workOffset })
  }

  /** Undefined when work is gone, never came, or does not know us. */
  private async connect(): Promise<WorkLink | undefined> {
    const { state, logger, signal } = this.options
    const failingSinceMs: Partial<Record<Unreachable, number>> = {}
    for (let attempt = 0; ; attempt++) {
      try {
        const link = await this.tryConnect()
        state.markWorkSeen()
        return link
      } catch (error) {
        if (!(error instanceof WorkUnreachable)) throw error
        if (attempt === 0) logger.info({ kind: error.kind }, 'work cannot be reached yet')
        if (error.kind === 'refused' || this.patience.isOver) return undefined
        if (error.kind === 'broken' && ++this.faults >= MAX_FAULTS) return undefined
        failingSinceMs[error.kind] ??= Date.now()
        const limitMs = error.goneAfterMs(state.workSeen) ?? CONNECT_LIMIT_MS
        if (Date.now() - failingSinceMs[error.kind]! > limitMs) return undefined
        if (this.options.stop.cause !== undefined && !state.workSeen) return undefined
      }
      await sleep(100, undefined, { signal })
    }
  }

  private async withoutWork(): Promise<EndedEvent> {
    const { stop, claim, workSocket } = this.options
    // Its command may have outlived it; on one machine we can see that.
    await endSessionProcesses({ sessionId: claim.sessionId, spareWorkSocket: workSocket }, () => 0)
    if (stop.cause !== undefined) return endStopped(stop.cause, claim.timeoutSeconds)
    return endWithout('lost', 'runner_lost', 'The process that ran the command disappeared before it could end.')
  }

  /** Undefined when the connection ended before the session did. */
  private async drive(link: WorkLink): Promise<EndedEvent | undefined> {
    const { claim, timeline, stop } = this.options
    if (link.welcome.codeTaken) this.onCodeTaken()
    for (const stage of link.welcome.stages) this.onStage(stage)
    if (link.welcome.state === 'waiting') {
      // Started, but work knows nothing of it: the one that did is gone, and it is not run a second time.
      if (claim.started || claim.order === null) return this.withoutWork()
      const failure = await this.prepare(link, claim.order)
      if (failure !== undefined) return failure
    } else if (link.welcome.state === 'prepared') {
      const ended = await this.go(link)
      if (ended !== undefined) return ended
    } else if (stop.cause !== undefined) this.sendStop()
    if (timeline.runningAt !== undefined) this.watchDeadline(timeline.runningAt)
    return this.follow(link)
  }

  private async follow(link: WorkLink): Promise<EndedEvent | undefined> {
    const { terminal, claim, stop, onOutput } = this.options
    for await (const event of link.events()) {
      this.patience.heard()
      switch (event.type) {
        case 'output':
          terminal.appendWork(event.offset, event.bytes)
          link.send({ type: 'ack', offset: terminal.workOffset })
          onOutput()
          await terminal.ready()
          break
        case 'prepared': {
          const ended = await this.go(link)
          if (ended !== undefined) return ended
          break
        }
        case 'code_taken':
          this.onCodeTaken()
          break
        case 'stage':
          this.onStage(event.stage)
          break
        case 'typed':
          this.options.typing.onProgress(event.progress)
          break
        case 'exit':
          if (event.exit.offset === terminal.workOffset) {
            return endOf(event.exit, claim.timeoutSeconds, stop.cause)
          }
          throw new RangeError(`work ended at ${event.exit.offset}, but ${terminal.workOffset} bytes came`)
        default:
          break
      }
    }
    return undefined
  }

  private onStage(stage: WorkStage): void {
    const { timeline } = this.options
    if (stage.name === 'installing') {
      timeline.stage('installing', stage.at)
      if (timeline.runningAt === undefined) this.stopAfter(stage.at, this.options.installLimitMs, 'install_limit')
      return
    }
    timeline.running(stage.at)
    this.watchDeadline(timeline.runningAt!)
  }

  /** Only before the first stage: from then on the command may speak for work. */
  private onCodeTaken(): void {
    const { timeline, workspaceDir, logger } = this.options
    if (this.codeTaken || timeline.runningAt !== undefined || timeline.has('installing')) return
    this.codeTaken = true
    void dropCode(workspaceDir, logger)
  }

  /** Brings the code into the workspace and hands over the order; it stays in memory, here and there. */
  private async prepare(link: WorkLink, order: WorkOrder): Promise<EndedEvent | undefined> {
    const { claim, installLimitMs } = this.options
    if (!this.fetched) {
      const failure = await bringCode(this.options, order)
      if (failure !== undefined) return failure
      this.fetched = true
    }
    const { command, prompt, installCmd, env } = order
    const limitsMs = { installing: installLimitMs, running: claim.timeoutSeconds * 1000 }
    const { sessionId } = claim
    link.send({ type: 'prepare', order: { sessionId, command, prompt, installCmd, env, limitsMs } })
    return undefined
  }

  /** Undefined when the command may run now. After `started` is confirmed it is never run again. */
  private async go(link: WorkLink): Promise<EndedEvent | undefined> {
    const { claim, stop, terminal, signal } = this.options
    if (!claim.started && stop.cause === undefined) {
      try {
        const confirmed = await this.options.confirmStarted(AbortSignal.any([stop.signal, signal]))
        // A session that has ended already ignores this report; one that is to stop has its end.
        if (!confirmed) return endStopped('user', claim.timeoutSeconds)
      } catch (error) {
        signal.throwIfAborted()
        if (stop.cause === undefined) throw error
      }
    }
    if (stop.cause !== undefined) return endStopped(stop.cause, claim.timeoutSeconds)
    link.send({ type: 'go', size: terminal.size })
    return undefined
  }

  private sendStop(): void {
    const cause = this.options.stop.cause!
    const { graceMs } = STOP_LIMITS
    if (cause !== 'work_gone') this.link?.send({ type: 'stop', cause: cause === 'server' ? 'user' : cause, graceMs })
    this.patience.begin(cause)
    this.giveUpInTime()
  }

  /** `run` finds that the patience is over when the connection ends. */
  private giveUpInTime(): void {
    clearTimeout(this.deadline)
    if (this.patience.isOver) return this.link?.close()
    this.deadline = setTimeout(() => this.giveUpInTime(), this.patience.leftMs + 1)
  }

  private watchDeadline(runningAt: string): void {
    this.stopAfter(runningAt, this.options.claim.timeoutSeconds * 1000, 'deadline')
  }

  /** What is to end by itself in time. work's word for when it began counts, but never as in the future. */
  private stopAfter(since: string, limitMs: number, cause: StopCause): void {
    const { stop } = this.options
    if (stop.cause !== undefined) return
    clearTimeout(this.deadline)
    const leftMs = Math.min(Date.parse(since) - Date.now(), 0) + limitMs
    this.deadline = setTimeout(() => stop.request(cause), Math.max(0, leftMs))
  }
}
