import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { DARK_COLOURS, type TerminalColours, type TerminalSize } from '@cliscale/contract'
import { clearCatchUp, isCatchingUp, loadCheckpoint, markCatchUp, saveCheckpoint, type Snapshot } from './checkpoint.ts'
import type { TerminalLimits } from './limits.ts'
import type { OutputLog } from './output-log.ts'
import { rawTail } from './raw-tail.ts'
import { AnswerBudget, ScreenBudget } from './screen-budget.ts'
import type { ScreenAnswer } from './screen-messages.ts'
import { ScreenLost, ScreenThread } from './screen-thread.ts'

/** Largest piece that is given to the thread at once, and the processor time after which it gives the rest back. */
const CHUNK_BYTES = 128 * 1024
const CHUNK_MS = 200
/** How far the screen may lag before `ready` waits, and for how long, for each byte of output: as plain text takes. */
const BACKLOG_BYTES = 1024 * 1024
const PATIENCE_MS_PER_BYTE = 60 / (1024 * 1024)
const MOST_PATIENCE_MS = 500
/** A screen that lags further goes on nearer to the head: nothing of what lies between is in its scrollback any more. */
const SKIP_LAG_BYTES = 16 * 1024 * 1024
const SKIP_TO_BYTES = 4 * 1024 * 1024
/** Snapshots take at most a fifth of the thread's time. */
const SNAPSHOT_EVERY_MS = 200
const SNAPSHOT_COST_FACTOR = 4
/** A screen that held so long begins again with the shortest pause when it is lost. */
const GOOD_LIFE_MS = 60_000

export interface ScreenOptions {
  readonly log: OutputLog
  readonly dir: string
  readonly limits: Pick<
    TerminalLimits,
    | 'replayBytes'
    | 'checkpointBytes'
    | 'snapshotMs'
    | 'snapshotBytes'
    | 'screenStallMs'
    | 'screenBudgetMs'
    | 'screenPauseMs'
  >
  /** Answers to terminal queries. Queries of output that was there at the start are not answered. */
  readonly onAnswer: (text: string) => void
  readonly onFault: (error: Error) => void
  /** Stands in for the thread's program in tests. */
  readonly program?: string
}

/**
 * The picture of the session for viewers that come late. A thread of its own reads the log as a viewer does: it pulls,
 * so its backlog lies in the log and costs no memory, and nothing waits for it longer than plain text would take.
 *
 * A thread that hangs, fills its memory or uses up its budget is ended; after a pause that doubles, another begins at
 * the head with the modes that were known. Until it has seen enough, viewers start from the raw tail of the output.
 */
export class Screen implements AsyncDisposable {
  readonly #options: ScreenOptions
  /** Queries before this offset were met by an earlier life of the host or of the screen. */
  #answerFrom: number
  #thread: ScreenThread | undefined
  #start: Snapshot | undefined
  #offset = 0
  /** Where a screen began that does not know what was before. */
  #blankFrom: number | undefined
  #modes = ''
  #drawn: TerminalSize | undefined
  #colours = DARK_COLOURS
  /** Those that the thread knows, and with it the program. */
  #toldColours = DARK_COLOURS
  #catchesUp = false
  /** False in the pause after a thread was lost. */
  #alive = true
  readonly #running: Promise<void>
  readonly #end = new AbortController()
  #budget: ScreenBudget | undefined
  readonly #answers = new AnswerBudget(() => performance.now())
  #cached: Snapshot | undefined
  #nextSnapshotAt = 0
  #waitedSince = 0
  #lastCheckpoint = 0
  readonly #snapshotWaiters = new Set<(snapshot: Snapshot) => void>()
  readonly #readyWaiters = new Set<() => void>()
  #patienceMs = 0
  #patienceFrom: number
  #wake: (() => void) | undefined

  constructor(options: ScreenOptions) {
    this.#options = options
    const { log, dir } = options
    this.#answerFrom = this.#patienceFrom = log.head
    if (isCatchingUp(dir)) this.#blankFrom = this.#offset = log.head
    else this.#start = loadCheckpoint(dir, log.head)
    this.#lastCheckpoint = this.#offset = this.#start?.seq ?? this.#offset
    this.#catchesUp = this.#offset < log.head
    this.#mark(this.#catchesUp)
    this.#running = this.#run()
  }

  /** Call when the log has grown or its size has changed. */
  poke(): void {
    this.#wake?.()
  }

  /** What a program that asks is told from now on; one that wants to know is told now. */
  show(colours: TerminalColours): void {
    if (isDeepStrictEqual(colours, this.#colours)) return
    this.#colours = colours
    this.poke()
  }

  /** Resolves when the screen lags by at most 1 MiB, or when plain text of that length would have been drawn. */
  ready(): Promise<void> {
    const { head } = this.#options.log
    this.#patienceMs += (head - this.#patienceFrom) * PATIENCE_MS_PER_BYTE
    this.#patienceMs = Math.min(MOST_PATIENCE_MS, this.#patienceMs)
    this.#patienceFrom = head
    if (this.#lag <= BACKLOG_BYTES || !this.#alive || this.#patienceMs < 5) return Promise.resolve()
    const since = performance.now()
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#readyWaiters.delete(done)
        this.#patienceMs = Math.max(0, this.#patienceMs - (performance.now() - since))
        resolve()
      }
      const timer = setTimeout(done, this.#patienceMs)
      this.#readyWaiters.add(done)
    })
  }

  /**
   * What a viewer starts from: never further behind the head than is replayed, and never later than `snapshotMs`.
   * All callers that wait get the same one. One in a hurry wants no older one and waits less: the output is quiet.
   */
  snapshot(hurry?: { readonly nearBytes: number; readonly limitMs: number }): Promise<Snapshot> {
    const { log, limits } = this.#options
    const nearBytes = hurry?.nearBytes ?? this.#freshBytes
    if (this.#cached && log.head - this.#cached.seq <= nearBytes) return Promise.resolve(this.#cached)
    if (!this.#knowsEnough) return Promise.resolve(this.#rawTail())
    return new Promise((resolve) => {
      const done = (snapshot: Snapshot): void => {
        clearTimeout(timer)
        this.#snapshotWaiters.delete(done)
        resolve(snapshot)
      }
      const timer = setTimeout(() => done(this.#rawTail()), hurry?.limitMs ?? limits.snapshotMs)
      if (this.#snapshotWaiters.size === 0) this.#waitedSince = performance.now()
      this.#snapshotWaiters.add(done)
      this.poke()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort()
    this.#mark(false)
    this.poke()
    for (const resolve of this.#readyWaiters) resolve()
    this.#fail()
    await this.#thread?.[Symbol.asyncDispose]()
    await this.#running
  }

  get #disposed(): boolean {
    return this.#end.signal.aborted
  }

  /** A snapshot so far behind leaves its viewer as much again before it needs the next. */
  get #freshBytes(): number {
    return this.#options.limits.replayBytes / 2
  }

  get #lag(): number {
    return this.#options.log.head - this.#offset
  }

  /** Whether there is a screen, and it has seen as much as the raw tail shows. */
  get #knowsEnough(): boolean {
    if (!this.#alive) return false
    return this.#blankFrom === undefined || this.#offset - this.#blankFrom >= this.#freshBytes / 8
  }

  #rawTail(): Snapshot {
    return rawTail(this.#options.log, this.#options.limits.replayBytes, this.#modes)
  }

  async #run(): Promise<void> {
    const { limits, log, onFault } = this.#options
    for (
      let pauseMs = limits.screenPauseMs;
      !this.#disposed;
      pauseMs = Math.min(pauseMs * 2, limits.screenPauseMs * 64)
    ) {
      const since = performance.now()
      try {
        await this.#live()
      } catch (error) {
        if (this.#disposed) return
        onFault(lostScreen(error as Error, pauseMs))
      }
      this.#fail()
      this.#mark(false)
      if (performance.now() - since > GOOD_LIFE_MS) pauseMs = limits.screenPauseMs
      await sleep(pauseMs, undefined, { signal: this.#end.signal }).catch(() => {})
      this.#alive = !this.#disposed
      this.#start = undefined
      this.#answerFrom = this.#blankFrom = this.#offset = this.#lastCheckpoint = log.head
    }
  }

  /** One thread from its start to its end. @throws ScreenLost */
  async #live(): Promise<void> {
    const { limits, log, program } = this.#options
    while (log.head === 0 && !this.#disposed) await this.#untilPoked()
    if (this.#disposed) return
    await using thread = await ScreenThread.start({ stallMs: limits.screenStallMs, program })
    if (this.#disposed) return
    this.#thread = thread
    this.#budget = new ScreenBudget(limits.screenBudgetMs, () => performance.now())
    const size = this.#start?.size ?? log.read(this.#offset, 1)?.size ?? log.size
    const bytes = this.#start?.bytes ?? Buffer.from(this.#modes)
    const answer = await thread.request({
      type: 'start',
      size,
      offset: this.#offset,
      bytes: Uint8Array.from(bytes),
      colours: this.#toldColours,
    })
    this.#modes = answer.modes
    this.#drawn = size
    this.#start = undefined
    while (!this.#disposed) await this.#step(thread)
  }

  async #step(thread: ScreenThread): Promise<void> {
    const { log } = this.#options
    if (this.#catchesUp && this.#offset >= this.#answerFrom) this.#mark(false)
    if (this.#lag <= BACKLOG_BYTES) for (const resolve of this.#readyWaiters) resolve()
    if (this.#lag === 0 && !isSame(this.#drawn, log.size)) {
      this.#drawn = log.size
      await thread.request({ type: 'resize', size: log.size })
      return
    }
    if (this.#toldColours !== this.#colours && this.#offset >= this.#answerFrom) return this.#tellColours(thread)
    const waitMs = this.#snapshotWaitMs()
    if (waitMs === 0) return this.#serveSnapshot(thread)
    if (this.#offset - this.#lastCheckpoint >= this.#options.limits.checkpointBytes) return this.#checkpoint(thread)
    if (this.#lag > SKIP_LAG_BYTES) return this.#skip(thread, log.head - SKIP_TO_BYTES)
    const most = this.#offset < this.#answerFrom ? Math.min(CHUNK_BYTES, this.#answerFrom - this.#offset) : CHUNK_BYTES
    const chunk = log.read(this.#offset, most)
    if (chunk) return this.#parse(thread, chunk.bytes, chunk.size)
    if (this.#offset < log.head) return this.#skip(thread, this.#offset)
    await this.#untilPoked(waitMs)
  }

  async #parse(thread: ScreenThread, bytes: Uint8Array, size: TerminalSize): Promise<void> {
    const offset = this.#offset
    const answer = await thread.request({
      type: 'parse',
      offset,
      size,
      bytes: Uint8Array.from(bytes),
      answering: offset >= this.#answerFrom,
      budgetMs: CHUNK_MS,
    })
    this.#drawn = size
    this.#offset = answer.offset
    this.#modes = answer.modes
    this.#reply(answer)
    if (!this.#budget?.spend(answer.offset - offset, answer.cpuMs))
      throw new ScreenLost('what the program prints takes too long to draw')
  }

  async #tellColours(thread: ScreenThread): Promise<void> {
    this.#toldColours = this.#colours
    const answer = await thread.request({ type: 'colours', colours: this.#colours })
    this.#modes = answer.modes
    this.#reply(answer)
  }

  #reply({ answers }: ScreenAnswer): void {
    if (answers !== '' && this.#answers.take(answers.length)) this.#options.onAnswer(answers)
  }

  /** Goes on at the next output that can be read. */
  async #skip(thread: ScreenThread, from: number): Promise<void> {
    const { log } = this.#options
    const next = log.nextReadable(from)
    const isReadable = log.read(next, 1) !== undefined
    this.#offset = isReadable ? next : log.head
    await thread.request({ type: 'skip', offset: this.#offset })
  }

  /** Until a snapshot may be made; undefined where nobody waits for one, or the head is too far. */
  #snapshotWaitMs(): number | undefined {
    if (this.#snapshotWaiters.size === 0 || this.#lag > this.#freshBytes) return undefined
    const now = performance.now()
    // Best at the head; but a program that prints on and on must not make its viewers wait.
    const patientUntil = this.#lag === 0 ? 0 : this.#waitedSince + this.#options.limits.snapshotMs / 4
    return Math.max(0, this.#nextSnapshotAt - now, patientUntil - now)
  }

  async #takeSnapshot(thread: ScreenThread): Promise<Snapshot | undefined> {
    const { snapshot, cpuMs } = await thread.request({
      type: 'snapshot',
      maxBytes: this.#options.limits.snapshotBytes,
    })
    this.#nextSnapshotAt = performance.now() + Math.max(SNAPSHOT_EVERY_MS, cpuMs * SNAPSHOT_COST_FACTOR)
    this.#cached = snapshot && { ...snapshot, bytes: Buffer.from(snapshot.bytes.buffer) }
    return this.#cached
  }

  async #serveSnapshot(thread: ScreenThread): Promise<void> {
    const { log, limits } = this.#options
    const snapshot = await this.#takeSnapshot(thread)
    // It stands still in a sequence that has no end, or the output was faster.
    const isNear = snapshot && log.head - snapshot.seq <= limits.replayBytes
    const shown = isNear ? snapshot : this.#rawTail()
    for (const resolve of this.#snapshotWaiters) resolve(shown)
  }

  async #checkpoint(thread: ScreenThread): Promise<void> {
    this.#lastCheckpoint = this.#offset
    const snapshot = await this.#takeSnapshot(thread)
    if (!snapshot) return
    try {
      saveCheckpoint(this.#options.dir, snapshot)
    } catch (error) {
      this.#options.onFault(error as Error)
    }
  }

  /** There is no screen: who waits for it waits no longer. */
  #fail(): void {
    this.#thread = undefined
    this.#alive = false
    this.#cached = undefined
    for (const resolve of this.#readyWaiters) resolve()
    if (this.#snapshotWaiters.size === 0) return
    const tail = this.#rawTail()
    for (const resolve of this.#snapshotWaiters) resolve(tail)
  }

  #mark(catchesUp: boolean): void {
    this.#catchesUp = catchesUp
    try {
      if (catchesUp) markCatchUp(this.#options.dir)
      else clearCatchUp(this.#options.dir)
    } catch (error) {
      this.#options.onFault(error as Error)
    }
  }

  /** Until `poke`, or for at most `limitMs`. */
  async #untilPoked(limitMs?: number): Promise<void> {
    if (this.#disposed) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      if (limitMs !== undefined) timer = setTimeout(resolve, limitMs)
    })
    this.#wake = undefined
    clearTimeout(timer)
  }
}

function isSame(a: TerminalSize | undefined, b: TerminalSize): boolean {
  return a?.columns === b.columns && a.rows === b.rows
}

function lostScreen(error: Error, pauseMs: number): Error {
  const detail = `The session's screen was discarded: ${error.message}. It restarts in ${pauseMs} ms; until then viewers get the raw output.`
  return Object.assign(new Error(detail, { cause: error }), { code: 'SCREEN_LOST' })
}
