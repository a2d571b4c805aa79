import type { Logger } from '@cliscale/service-kit'
import { isListening } from './work-link.ts'

export interface EndingSession {
  readonly isOver: () => boolean
  /** Nobody runs the command any more: the session is to be concluded with what is known. */
  readonly workIsGone: () => void
}

/**
 * What a host does when the system asks it to end.
 *
 * Work lives and its session is open: `signal` aborts at once, and the host's next life goes on. Otherwise there will be
 * none (in a pod, the system ends work first and the host last): the session is concluded, reported and served for up to
 * `graceMs`, and only then does `signal` abort.
 */
export class Ending {
  private readonly leaving = new AbortController()
  private readonly options: { asked: AbortSignal; graceMs: number; workSocket: string; logger: Logger }
  private session: EndingSession | undefined
  private workGone = false

  constructor(options: { asked: AbortSignal; graceMs: number; workSocket: string; logger: Logger }) {
    this.options = options
    const { asked } = options
    if (asked.aborted) void this.onAsked()
    else asked.addEventListener('abort', () => void this.onAsked(), { once: true })
  }

  /** The host leaves where it stands. */
  get signal(): AbortSignal {
    return this.leaving.signal
  }

  get asked(): boolean {
    return this.options.asked.aborted
  }

  /** The session that was claimed. */
  watch(session: EndingSession): void {
    this.session = session
    if (this.workGone) session.workIsGone()
  }

  private async onAsked(): Promise<void> {
    const { asked, graceMs, workSocket, logger } = this.options
    const leave = (): void => this.leaving.abort(asked.reason)
    const alive = await isListening(workSocket)
    if (alive && !this.session?.isOver()) return leave()
    logger.info({ alive }, 'the session ends with this host')
    setTimeout(leave, graceMs).unref()
    if (alive) return
    this.workGone = true
    this.session?.workIsGone()
  }
}
