import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually, untilStatus } from './cluster.ts'
import type { Api, Created } from './system.ts'
import { CollectingViewer } from './viewer.ts'

/** Prints a line each second without starting a process, until a line is typed. */
const COMMAND = 'i=0; until read -t 1 line; do i=$((i + 1)); echo "line $i"; done; echo "end of $i"'

interface Member {
  readonly session: Created
  readonly viewer: CollectingViewer
}

/** Sessions that run for as long as a test breaks things, each with a viewer that comes back by itself. */
export class ClusterFleet implements AsyncDisposable {
  readonly members: Member[] = []
  readonly #api: Api

  private constructor(api: Api) {
    this.#api = api
  }

  /** Starts `size` sessions; the viewers of one come through each of `entrances` in turn. */
  static async start(api: Api, size: number, entrances: readonly string[]): Promise<ClusterFleet> {
    const fleet = new ClusterFleet(api)
    for (let i = 0; i < size; i++) {
      const session = await api.create({ command: COMMAND, timeout_seconds: 3600 })
      const viewer = new CollectingViewer(entrances[i % entrances.length] ?? api.base, session.sessionId)
      viewer.start(session.sessionJWT)
      fleet.members.push({ session, viewer })
    }
    return fleet
  }

  async untilRunning(limitMs = 300_000): Promise<void> {
    const end = Date.now() + limitMs
    for (const { session } of this.members) {
      await untilStatus(this.#api, session.sessionId, ['running'], Math.max(1, end - Date.now()))
    }
    await this.untilEachMoves(60_000)
  }

  /** Every viewer gets a byte that was not there when this was called. Returns how long the last one took, in ms. */
  async untilEachMoves(limitMs: number): Promise<number> {
    const began = Date.now()
    const before = this.members.map(({ viewer }) => viewer.have)
    for (;;) {
      const still = this.members.filter(({ viewer }, i) => viewer.have === before[i])
      const fault = this.members.find(({ viewer }) => viewer.fault)?.viewer.fault
      if (fault) throw fault
      if (still.length === 0) return Date.now() - began
      if (Date.now() - began > limitMs) {
        const views = await Promise.all(still.slice(0, 3).map(({ session }) => this.#api.get(session.sessionId)))
        throw new Error(`${still.length} viewers see nothing new after ${limitMs} ms: ${JSON.stringify(views)}`)
      }
      await sleep(50)
    }
  }

  /** Every session gives a fresh token, and that token a terminal with output. Returns how long it took, in ms. */
  async attachAll(limitMs: number): Promise<number> {
    const began = Date.now()
    await Promise.all(
      this.members.map(({ session }) =>
        eventually(
          `a new viewer of ${session.sessionId} sees output`,
          async () => {
            const { sessionJWT } = await this.#api.token(session.sessionId)
            await using viewer = new CollectingViewer(this.#api.base, session.sessionId)
            viewer.start(sessionJWT)
            for (let tries = 0; viewer.have === 0 && tries < 60; tries++) await sleep(50)
            return viewer.have > 0
          },
          limitMs,
        ),
      ),
    )
    return Date.now() - began
  }

  /** Sessions that are not running, as the API sees them. */
  async notRunning(): Promise<object[]> {
    const views = await Promise.all(this.members.map(({ session }) => this.#api.get(session.sessionId)))
    return views.filter(({ status }) => status !== 'running')
  }

  /** Takes a member out, for what is done to it alone. */
  takeOne(): Member {
    const member = this.members.pop()
    if (!member) throw new Error('the fleet is empty')
    return member
  }

  /**
   * Ends every session by a line that its viewer types, and compares what the viewer got with what the program must have
   * printed and with the kept log. Returns how many are equal in all three.
   */
  async endAndCompare(): Promise<number> {
    await Promise.all(
      this.members.map(({ viewer, session }) =>
        eventually(
          `session ${session.sessionId} ends`,
          async () => {
            if (!viewer.exit) viewer.send('q\n')
            await sleep(1000)
            return viewer.exit !== undefined
          },
          60_000,
        ),
      ),
    )
    const equal = await Promise.all(
      this.members.map(async ({ session, viewer }) => {
        const ended = await this.#api.ended(session.sessionId, 60_000)
        const seen = viewer.bytes
        const kept = await this.#api.logs(session.sessionId)
        return ended.status === 'succeeded' && isExact(seen.toString()) && sha256(seen) === sha256(kept)
      }),
    )
    return equal.filter(Boolean).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { viewer, session } of this.members) {
      await viewer[Symbol.asyncDispose]()
      await this.#api.stop(session.sessionId).catch(() => {})
    }
  }
}

/** All lines from the first to the last, each once, in order; what was typed is echoed somewhere near the end. */
function isExact(output: string): boolean {
  const lines = output.replaceAll('q\r\n', '').split('\r\n')
  const last = lines.length - 2
  return (
    last > 0 &&
    lines.slice(0, last).every((line, i) => line === `line ${i + 1}`) &&
    lines[last] === `end of ${last}` &&
    lines[last + 1] === ''
  )
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
