import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Api, Created } from './system.ts'
import { CollectingViewer } from './viewer.ts'

const SESSIONS = 20
const LINES = 40

/** A program that says in a file of its own that it was started, and prints for about ten seconds. */
const command = (started: string): string =>
  `echo started >> '${started}'; for i in $(seq 1 ${LINES}); do echo "line $i"; sleep 0.25; done`
const EXPECTED = Array.from({ length: LINES }, (_, i) => `line ${i + 1}\r\n`).join('')

interface Run {
  readonly session: Created
  readonly started: string
}

/** What twenty sessions ended as; each figure should be 20. */
export interface Outcome {
  readonly succeeded: number
  /** Sessions whose program was started exactly once. */
  readonly once: number
  /** Sessions whose log is exactly what their program printed. */
  readonly whole: number
}
export const ALL: Outcome = { succeeded: SESSIONS, once: SESSIONS, whole: SESSIONS }

/** Twenty sessions of a program that runs for ten seconds, to break something under. */
export class Fleet {
  readonly #api: Api
  readonly #runs: readonly Run[]

  private constructor(api: Api, runs: readonly Run[]) {
    this.#api = api
    this.#runs = runs
  }

  /** Creates them, each by a request that is repeated under its Idempotency-Key until it is answered. */
  static async start(api: Api, dir: string): Promise<Fleet> {
    const name = randomUUID()
    const files = Array.from({ length: SESSIONS }, (_, i) => path.join(dir, `${name}-${i}`))
    const runs = files.map(async (started) => ({ started, session: await createSurely(api, command(started)) }))
    return new Fleet(api, await Promise.all(runs))
  }

  async untilRunning(): Promise<void> {
    for (const { session } of this.#runs) await this.#api.running(session.sessionId)
  }

  /** Every session gives a fresh token, and that token a terminal with output at `gateway`, within the time. */
  async attachAll(withinMs: number, gateway = this.#api.base): Promise<void> {
    const deadline = Date.now() + withinMs
    await Promise.all(this.#runs.map(({ session }) => attachSurely(this.#api, gateway, session.sessionId, deadline)))
  }

  async outcome(): Promise<Outcome> {
    const outcome = { succeeded: 0, once: 0, whole: 0 }
    for (const { session, started } of this.#runs) {
      const view = await this.#api.ended(session.sessionId, 90_000)
      if (view.status === 'succeeded') outcome.succeeded++
      else console.error(view)
      if ((await readFile(started, 'utf8')) === 'started\n') outcome.once++
      if ((await this.#api.logs(session.sessionId)).toString() === EXPECTED) outcome.whole++
    }
    return outcome
  }
}

async function createSurely(api: Api, text: string): Promise<Created> {
  const key = randomUUID()
  for (let tries = 0; tries < 100; tries++) {
    const session = await api.create({ command: text }, { idempotencyKey: key }).catch(() => undefined)
    if (session) return session
    await sleep(200)
  }
  throw new Error('no creation was answered within 20 s')
}

async function attachSurely(api: Api, gateway: string, sessionId: string, deadline: number): Promise<void> {
  for (;;) {
    try {
      const fresh = await api.token(sessionId)
      await using viewer = new CollectingViewer(gateway, sessionId)
      viewer.start(fresh.sessionJWT)
      while (viewer.have === 0 && viewer.fault === undefined && Date.now() < deadline) await sleep(50)
      if (viewer.have > 0) return
      throw viewer.fault ?? new Error(`session ${sessionId} showed no output in time`)
    } catch (error) {
      if (Date.now() > deadline) throw error
      await sleep(200)
    }
  }
}
