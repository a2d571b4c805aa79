import { randomUUID } from 'node:crypto'
import type { ApiError } from '@cliscale/client'
import { expect, test } from '@jest/globals'
import { untilReleaseReady } from '../src/cluster-faults.ts'
import { ClusterFleet } from '../src/cluster-fleet.ts'
import { componentPods, eventually, onDatabase, openApi, state } from '../src/cluster.ts'
import type { Api, Created } from '../src/system.ts'
import { CollectingViewer } from '../src/viewer.ts'

/** The two controllers have ten each. */
const CONNECTIONS = 20
/** A creation waits for a connection twice and for a lock once, each for 5 s at most; the rest is a busy machine's. */
const DEADLINE_MS = 20_000
const LOCK = `(select pid from pg_locks where mode = 'AccessExclusiveLock' and granted
  and relation = 'session_orders'::regclass)`

if (state.clusterFolder === null || state.database === null) {
  test('no table is locked: this is not the test cluster’s database', () =>
    expect(state.clusterFolder === null || state.database === null).toBe(true))
} else {
  test('200 requests meet a database that delays the API: each is answered, and no terminal notices', async () => {
    const api = await openApi()
    await using fleet = await ClusterFleet.start(api, 4, [api.base])
    await fleet.untilRunning()
    const before = await restarts()
    const ids = fleet.members.map(({ session }) => session.sessionId)
    const known = await sessionIds(api)
    const tokens = await Promise.all(Array.from({ length: 40 }, (_, i) => api.token(ids[i % ids.length] as string)))
    const keys = Array.from({ length: 80 }, randomUUID)
    const create = (key: string) => api.create({ command: 'echo 1' }, { idempotencyKey: key })

    const { answers, attachedAfterMs } = await whileOrdersAreLocked(async () => {
      const creations = keys.map((key) => timed(create(key)))
      await eventually('no connection of the controllers is free', async () => (await waiting()) >= CONNECTIONS, 10_000)
      const reads = Array.from({ length: 60 }, (_, i) => timed(api.get(ids[i % ids.length] as string)))
      const mints = ids.flatMap((id) => Array.from({ length: 5 }, () => timed(api.token(id))))
      const [attached] = await Promise.all([Promise.all(tokens.map(attach)), fleet.untilEachMoves(10_000)])
      return { answers: await Promise.all([...creations, ...reads, ...mints]), attachedAfterMs: Math.max(...attached) }
    })

    const refused = answers.flatMap(({ refusal }) => refusal ?? [])
    const slowestMs = Math.max(...answers.map(({ ms }) => ms))
    process.stderr.write(
      `${answers.length} requests: ${refused.length} refused, the last after ${slowestMs} ms; 40 attached after ${attachedAfterMs} ms\n`,
    )
    expect(answers.length + tokens.length).toBe(200)
    expect(slowestMs).toBeLessThan(DEADLINE_MS)
    expect(answers.slice(0, keys.length).every(({ refusal }) => refusal !== undefined)).toBe(true)
    for (const refusal of refused) {
      expect(refusal).toMatchObject({ code: 'store_unavailable', status: 503 })
      expect((refusal as ApiError).retryAfterSeconds).toBeGreaterThan(0)
    }
    expect(attachedAfterMs).toBeLessThan(10_000)
    // What was refused did not happen, and the same request works now.
    await untilReleaseReady()
    expect(await eventually('the API answers', () => sessionIds(api))).toEqual(known)
    const { sessionId } = await eventually('a request is accepted again', () => create(keys[0] as string))
    expect(await api.ended(sessionId)).toMatchObject({ status: 'succeeded' })
    expect(await restarts()).toBe(before)
    expect(await fleet.endAndCompare()).toBe(ids.length)
  })
}

/** Locks the table that every creation writes and no terminal reads, as a long schema change would. */
async function whileOrdersAreLocked<T>(task: () => Promise<T>): Promise<T> {
  const sql = 'begin; lock table session_orders in access exclusive mode; select pg_sleep(60)'
  // It ends when its connection is cut.
  const locking = onDatabase('psql', '-qXc', sql).catch(() => '')
  const count = async () => (await onDatabase('psql', '-qXAtc', `select count(*) from ${LOCK} as holders`)).trim()
  await eventually('the table is locked', async () => (await count()) === '1')
  try {
    return await task()
  } finally {
    await onDatabase('psql', '-qXc', `select pg_terminate_backend(pid) from ${LOCK} as holders`)
    await locking
  }
}

/** How many connections of the release wait for another's lock. */
async function waiting(): Promise<number> {
  const sql = `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  return Number(await onDatabase('psql', '-qXAtc', sql))
}

/** Why a request failed, if it did, and how long it took. */
async function timed(request: Promise<unknown>): Promise<{ readonly refusal?: unknown; readonly ms: number }> {
  const began = Date.now()
  const refusal = await request.then(
    () => undefined,
    (error: unknown) => error,
  )
  return { refusal, ms: Date.now() - began }
}

/** How long it takes a new viewer to see output, in ms. */
async function attach({ sessionId, sessionJWT }: Created): Promise<number> {
  const began = Date.now()
  await using viewer = new CollectingViewer(state.address, sessionId)
  viewer.start(sessionJWT)
  await eventually(`a new viewer of ${sessionId} sees output`, async () => viewer.have > 0)
  expect(viewer.losses).toBe(0)
  return Date.now() - began
}

async function sessionIds(api: Api): Promise<string[]> {
  const { sessions } = await api.list({ limit: 100 })
  return sessions.map(({ sessionId }) => sessionId)
}

async function restarts(): Promise<number> {
  return (await componentPods('controller'))
    .flatMap(({ status }) => status.containerStatuses ?? [])
    .reduce((sum, { restartCount }) => sum + restartCount, 0)
}
