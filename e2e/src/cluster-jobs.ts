import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { SESSION_LABEL, SESSIONS, spawnKubectl } from './cluster.ts'

interface JobEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly uid: string
  readonly sessionId: string
  /** When it was heard of, in milliseconds. */
  readonly at: number
}

const LINE = `{.type} {.object.metadata.uid} {.object.metadata.labels.${SESSION_LABEL.replaceAll('.', '\\.')}}{"\\n"}`

/** All that happens to Jobs of sessions, from those that are there on. */
export class JobWatch implements AsyncDisposable {
  readonly events: JobEvent[] = []
  readonly #kubectl: ReturnType<typeof spawnKubectl>

  constructor() {
    const what = ['get', 'jobs', '-n', SESSIONS, '-l', SESSION_LABEL]
    this.#kubectl = spawnKubectl(...what, '--watch', '--output-watch-events', '-o', `jsonpath=${LINE}`)
    createInterface(this.#kubectl.stdout).on('line', (line) => {
      const [type, uid = '', sessionId = ''] = line.split(' ')
      this.events.push({ type: type as JobEvent['type'], uid, sessionId, at: Date.now() })
    })
  }

  /** Names of all Jobs that a session had. */
  uidsOf(sessionId: string): string[] {
    return [...new Set(this.#of(sessionId).map(({ uid }) => uid))]
  }

  /** When a session's Job was first heard of, and when it was deleted. */
  timesOf(sessionId: string): { readonly seenAt: number | undefined; readonly deletedAt: number | undefined } {
    const events = this.#of(sessionId)
    return { seenAt: events[0]?.at, deletedAt: events.find(({ type }) => type === 'DELETED')?.at }
  }

  /** Whether the watch went on to this moment. */
  get isWhole(): boolean {
    return this.#kubectl.exitCode === null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isWhole) return
    this.#kubectl.kill()
    await once(this.#kubectl, 'exit')
  }

  #of(sessionId: string): JobEvent[] {
    return this.events.filter((event) => event.sessionId === sessionId)
  }
}
