import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { ScreenAnswer, ScreenReady, ScreenRequest } from './screen-messages.ts'
import { openThreadClock, type ThreadClock } from './thread-clock.ts'

/** Beside this file in `dist` and beside the bundle of the host; tests run this file from its source. */
const PROGRAM = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../../../dist/host/terminal/screen-worker.js' : './screen-worker.js',
    import.meta.url,
  ),
)
/** Enough for a screen of the usual size whose every cell has a link and an accent. */
const MEMORY = { maxOldGenerationSizeMb: 80, maxYoungGenerationSizeMb: 8, stackSizeMb: 2 }
/** A machine that is busy may let a thread wait so many times as long as it may work. */
const PATIENCE_FACTOR = 15

/** Why the thread has no answer: it was stopped, or ended by itself. */
export class ScreenLost extends Error {
  readonly code = 'SCREEN_LOST'
  constructor(detail: string) {
    super(detail)
    this.name = 'ScreenLost'
  }
}

export interface ScreenThreadOptions {
  /** Processor time after which a request counts as endless, in milliseconds. */
  readonly stallMs: number
  readonly program?: string | undefined
}

/** The thread in which the screen's terminal is. What hangs or fills it ends it, and nothing else. Dispose it. */
export class ScreenThread implements AsyncDisposable {
  readonly #worker: Worker
  readonly #stallMs: number
  #waiting: { resolve: (answer: ScreenAnswer | ScreenReady) => void; reject: (error: Error) => void } | undefined
  #lost: ScreenLost | undefined
  #clock: ThreadClock | undefined
  #started = false

  private constructor({ stallMs, program }: ScreenThreadOptions) {
    this.#stallMs = stallMs
    this.#worker = new Worker(program ?? PROGRAM, { resourceLimits: MEMORY, execArgv: [], env: {} })
    this.#worker.unref()
    this.#worker.on('message', (answer: ScreenAnswer | ScreenReady) => this.#waiting?.resolve(answer))
    this.#worker.on('error', (error: NodeJS.ErrnoException) => {
      const isFull = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
      this.#lose(isFull ? 'it exceeded its memory limit' : `its thread failed: ${error.message}`)
    })
    this.#worker.on('exit', () => this.#lose('its thread ended'))
  }

  /** @throws ScreenLost */
  static async start(options: ScreenThreadOptions): Promise<ScreenThread> {
    const thread = new ScreenThread(options)
    try {
      const { thread: number } = (await thread.#answer()) as ScreenReady
      thread.#clock = openThreadClock(number)
      thread.#started = true
      return thread
    } catch (error) {
      await thread[Symbol.asyncDispose]()
      throw error
    }
  }

  /** One at a time. @throws ScreenLost */
  async request(request: ScreenRequest): Promise<ScreenAnswer> {
    const answer = this.#answer()
    this.#worker.postMessage(request)
    return (await answer) as ScreenAnswer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lose('it is no longer needed')
    await this.#worker.terminate()
    this.#clock?.close()
    this.#clock = undefined
  }

  #answer(): Promise<ScreenAnswer | ScreenReady> {
    const lost = this.#lost
    if (lost) return Promise.reject(lost)
    const watch = this.#watch()
    return new Promise<ScreenAnswer | ScreenReady>((resolve, reject) => {
      this.#waiting = { resolve, reject }
    }).finally(() => {
      clearInterval(watch)
      this.#waiting = undefined
    })
  }

  #watch(): NodeJS.Timeout {
    const wallMs = performance.now()
    const cpuMs = this.#clock?.now() ?? 0
    return setInterval(() => {
      const waitedMs = performance.now() - wallMs
      const usedMs = this.#clock ? this.#clock.now() - cpuMs : this.#started ? waitedMs : 0
      if (usedMs > this.#stallMs || waitedMs > this.#stallMs * PATIENCE_FACTOR) this.#lose('it takes too long')
    }, this.#stallMs / 4).unref()
  }

  #lose(why: string): void {
    if (this.#lost) return
    this.#lost = new ScreenLost(why)
    this.#waiting?.reject(this.#lost)
    void this.#worker.terminate()
  }
}
