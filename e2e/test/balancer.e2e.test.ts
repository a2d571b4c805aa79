/** Gateways behind a load balancer: one that is stopped, and connections that are cut after a time. */
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Balancer } from '../src/balancer.ts'
import { type Split, startSplit } from '../src/split.ts'
import { type Created, until } from '../src/system.ts'
import { CollectingViewer } from '../src/viewer.ts'

/** A session takes 32 viewers. */
const SESSIONS = 16
const VIEWERS = Number(process.env['E2E_VIEWERS'] ?? 500)
const LAME_DUCK_SECONDS = 2

/** A load balancer that cuts after 30 s, sped up; real time: `E2E_CUT_SECONDS=30 E2E_CUT_TOTAL_SECONDS=600`. */
const CUT_SECONDS = Number(process.env['E2E_CUT_SECONDS'] ?? 3)
const CUT_TOTAL_SECONDS = Number(process.env['E2E_CUT_TOTAL_SECONDS'] ?? 60)

let split: Split
beforeAll(async () => {
  split = await startSplit(2, { CLISCALE_LAME_DUCK_SECONDS: String(LAME_DUCK_SECONDS) })
})
afterAll(async () => {
  await split[Symbol.asyncDispose]()
})

const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')
const numbered = (count: number): string => Array.from({ length: count }, (_, i) => `line ${i + 1}\r\n`).join('')

test(`SIGTERM to one of two gateways with ${VIEWERS} viewers: it ends within 25 s, viewers return through the other, and no byte is lost or doubled`, async () => {
  await using balancer = await Balancer.start(split.gateways.map(({ base }) => base))
  // Ten lines a second until the file exists; then the number of the last line.
  const over = path.join(split.dir, 'over')
  const command = `n=0; until [ -e ${over} ]; do for i in 1 2 3 4 5; do n=$((n+1)); echo "line $n"; done; sleep 0.5; done; echo "last $n"`
  const sessions = await Promise.all(
    Array.from({ length: SESSIONS }, () => split.api.create({ command, timeout_seconds: 300 })),
  )
  for (const { sessionId } of sessions) await split.api.running(sessionId)
  const viewers = await attach(balancer.base, sessions)
  try {
    await until(
      () => `all are attached; ${JSON.stringify(viewers.filter(({ have }) => have === 0).slice(0, 3))}`,
      () => viewers.every(({ have }) => have > 0),
      60_000,
    )
    const [leaving] = split.gateways
    const before = viewers.map(({ connections }) => connections)
    const startedAt = Date.now()
    expect(await leaving!.stop()).toBe(0)
    const goneMs = Date.now() - startedAt
    await until(
      () => `all are back; away: ${JSON.stringify(viewers.filter((viewer) => !viewer.isAttached).slice(0, 5))}`,
      () => viewers.every((viewer) => viewer.isAttached || viewer.exit !== undefined),
      30_000,
    )
    const moved = viewers.filter(({ connections }, i) => connections > before[i]!)
    const away = moved.map((viewer) => viewer.longestAwayMs).toSorted((a, b) => a - b)
    const [p50 = 0, p95 = 0, max = 0] = [0.5, 0.95, 1].map((part) => away[Math.ceil(part * away.length) - 1])
    console.log(
      `${moved.length} of ${VIEWERS} viewers moved; gateway gone after ${goneMs} ms; away for ${p50} ms (p50), ${p95} ms (p95), ${max} ms at most`,
    )
    expect(goneMs).toBeLessThan(25_000)
    expect(moved.length).toBeGreaterThan(VIEWERS / 4)
    expect(new Set(moved.flatMap(({ closes }) => closes))).toEqual(new Set([1012]))
    await writeFile(over, '')
    for (const viewer of viewers) await viewer.finished(120_000)
    for (const { bytes } of viewers) {
      const last = Number(/last (\d+)\r\n$/.exec(bytes.toString())?.[1])
      expect(last).toBeGreaterThan(10)
      expect(sha256(bytes)).toBe(sha256(`${numbered(last)}last ${last}\r\n`))
    }
    // The line above is the measurement: all viewers and the balancer share one thread of this test, so a time says more
    // of the machine than of a gateway. It only must not hang.
    expect(max).toBeLessThan(15_000)
    await leaving!.start()
  } finally {
    await Promise.all(viewers.map((viewer) => viewer[Symbol.asyncDispose]()))
  }
})

async function attach(base: string, sessions: readonly Created[]): Promise<CollectingViewer[]> {
  const viewers: CollectingViewer[] = []
  while (viewers.length < VIEWERS) {
    const batch = sessions.map(async ({ sessionId }) => {
      const { sessionJWT } = await split.api.token(sessionId)
      const viewer = new CollectingViewer(base, sessionId)
      viewers.push(viewer)
      viewer.start(sessionJWT)
    })
    await Promise.all(batch)
  }
  return viewers
}

test(`a load balancer cuts each connection after ${CUT_SECONDS} s, for ${CUT_TOTAL_SECONDS} s: every byte arrives once`, async () => {
  await using balancer = await Balancer.start(
    split.gateways.map(({ base }) => base),
    { cutAfterMs: CUT_SECONDS * 1_000 },
  )
  const lines = CUT_TOTAL_SECONDS * 20
  const session = await split.api.create({
    command: `for i in $(seq 1 ${lines}); do echo "line $i"; sleep 0.05; done`,
    timeout_seconds: CUT_TOTAL_SECONDS + 120,
  })
  await using viewer = new CollectingViewer(balancer.base, session.sessionId)
  viewer.start(session.sessionJWT)
  const exit = await viewer.finished((CUT_TOTAL_SECONDS + 60) * 1_000)
  expect(exit).toMatchObject({ status: 'succeeded', exitCode: 0 })
  console.log(`${balancer.cuts} cuts, ${viewer.connections} connections, longest away ${viewer.longestAwayMs} ms`)
  expect(viewer.connections).toBeGreaterThanOrEqual(Math.floor(CUT_TOTAL_SECONDS / CUT_SECONDS) - 1)
  expect(viewer.longestAwayMs).toBeLessThan(2_000)
  expect(sha256(viewer.bytes)).toBe(sha256(numbered(lines)))
  expect(sha256(await split.api.logs(session.sessionId))).toBe(sha256(numbered(lines)))
})
