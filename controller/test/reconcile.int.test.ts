import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Launched } from '../src/launch/launcher.ts'
import { call } from './host-api-system.ts'
import { expectEventually, request } from './launch-contract.ts'
import {
  claimRunning,
  createReconcileSystem,
  overriding,
  reconcilerOf,
  type ReconcileSystem,
  TIMINGS,
} from './reconcile-system.ts'

let system: ReconcileSystem
const start = async (...extra: Parameters<typeof createReconcileSystem>): Promise<void> => {
  await system[Symbol.asyncDispose]()
  system = await createReconcileSystem(...extra)
}
beforeEach(async () => {
  system = await createReconcileSystem()
})
afterEach(async () => system[Symbol.asyncDispose]())

const listed = async (id: string): Promise<Launched | undefined> =>
  (await system.local.launcher.list()).find((entry) => entry.sessionId === id)
const ended = (id: string, status: string, limitMs = 15_000) =>
  expectEventually(async () => {
    const row = await system.store.session(id)
    return row.status === status && row
  }, limitMs)
const endpoint = async (id: string): Promise<Record<string, unknown> | undefined> =>
  (
    await system.store.pool.query<Record<string, unknown>>('select * from session_endpoints where session_id = $1', [
      id,
    ])
  ).rows[0]

const running = () => claimRunning(system)

describe('starting', () => {
  test('a wake call launches queued sessions and adds to their stages', async () => {
    const id = await system.store.createSession()
    const from = Date.now()
    system.reconciler.wake()
    await expectEventually(() => listed(id))
    expect(Date.now() - from).toBeLessThan(5_000)
    const row = await system.store.session(id)
    expect(row).toMatchObject({ status: 'scheduling', stage: 'scheduling', launched_at: expect.any(Date) })
    expect(row.stages).toMatchObject([
      { name: 'queued', endedAt: expect.any(String) },
      { name: 'scheduling', endedAt: null },
    ])
  })

  test('queued sessions are found without a wake call, oldest first', async () => {
    const id = await system.store.createSession()
    await expectEventually(() => listed(id))
  })

  test('two reconcilers launch each of twenty sessions once', async () => {
    const launches: string[] = []
    const launcher = overriding(system.local.launcher, {
      launch: async ({ sessionId }) => void launches.push(sessionId),
      list: async () => launches.map((id) => ({ sessionId: id, launchId: id, progress: 'running' })),
    })
    await system.reconciler.close()
    const ids = await Promise.all(Array.from({ length: 20 }, () => system.store.createSession()))
    const both = [reconcilerOf(system.store, launcher), reconcilerOf(system.store, launcher)]
    for (const one of both) one.start()
    await expectEventually(async () => launches.length >= 20)
    await sleep(400)
    for (const one of both) await one.close()
    expect(launches.sort()).toEqual(ids.sort())
  })

  test('a session that a process marked before it died is launched by another', async () => {
    const id = await system.store.createSession({ status: 'scheduling', launched_at: new Date() })
    await expectEventually(() => listed(id))
    expect(await system.store.session(id)).toMatchObject({ status: 'scheduling' })
  })

  test('a launch that fails is tried again, and then ends the session as failed', async () => {
    const failing = new Map<string, number>()
    const [recovers, never, full] = [randomUUID(), randomUUID(), randomUUID()]
    await start({
      wrap: (launcher) =>
        overriding(launcher, {
          launch: async ({ sessionId: id }) => {
            const left = failing.get(id) ?? 0
            failing.set(id, left - 1)
            if (left > 0) throw Object.assign(new Error('no'), id === full ? { code: 'ENOSPC' } : {})
            await launcher.launch(request(id))
          },
        }),
    })
    failing.set(recovers, 2)
    failing.set(never, 100)
    failing.set(full, 100)
    await system.store.createSession({ id: recovers })
    await system.store.createSession({ id: never })
    await system.store.createSession({ id: full })
    await system.store.createSession({ id: randomUUID() })
    await expectEventually(() => listed(recovers))
    const row = await ended(never, 'failed', 15_000)
    expect(row).toMatchObject({ reason: 'launch_failed', detail: expect.stringContaining('could not be started') })
    expect(await system.store.count('session_orders', never)).toBe(0)
    expect(100 - failing.get(never)!).toBe(5)
    expect(await ended(full, 'failed', 15_000)).toMatchObject({ reason: 'disk_full' })
  })

  test('a host that leaves without a claim is launched again, but not for ever', async () => {
    const id = await system.store.createSession()
    const first = await expectEventually(() => listed(id))
    await system.local.endHost(id, 0)
    const second = await expectEventually(async () => {
      const now = await listed(id)
      return now !== undefined && now.launchId !== first.launchId && now
    })
    expect(second.launchId).not.toBe(first.launchId)
  })

  test('a session whose host neither ends it nor leaves is ended long after its timeout, and not at once by a new process', async () => {
    const { id } = await running()
    await system.store.pool.query(
      "update sessions set claimed_at = now() - interval '1 day', timeout_seconds = 5 where id = $1",
      [id],
    )
    await system.reconciler.close()
    const next = reconcilerOf(system.store, system.local.launcher, { timings: { ...TIMINGS, patienceMs: 1_500 } })
    const row = await system.store.session(id)
    next.start()
    try {
      await sleep(500)
      expect((await system.store.session(id)).status).toBe(row.status)
      await ended(id, 'lost')
    } finally {
      await next.close()
    }
    expect(await listed(id)).toBeUndefined()
  })

  test('a session that is not claimed in time fails with the queue deadline and is removed', async () => {
    await start({ queueLimitSeconds: 1 })
    const id = await system.store.createSession()
    await expectEventually(() => listed(id))
    const row = await ended(id, 'failed')
    expect(row).toMatchObject({ reason: 'queue_deadline', expires_at: expect.any(Date) })
    await expectEventually(async () => (await system.local.countRunning(id)) === 0)
    expect(await system.store.count('session_orders', id)).toBe(0)
  })
})

describe('endpoints', () => {
  test('the endpoint of the claimed launch is stored, follows its host, and returns when the table is emptied', async () => {
    const { id, claim } = await running()
    const first = await expectEventually(() => endpoint(id))
    expect(first).toMatchObject({ pod_ip: '127.0.0.1', pod_uid: claim.podUid })
    await system.local.endHost(id, 'SIGKILL')
    await expectEventually(async () => {
      const now = await endpoint(id)
      return now !== undefined && now['port'] !== first['port']
    })
    await system.store.database.query('truncate session_endpoints')
    await expectEventually(() => endpoint(id))
  })

  test('a session that is not claimed has none', async () => {
    const id = await system.store.createSession()
    await expectEventually(async () => (await listed(id))?.address)
    await sleep(300)
    expect(await endpoint(id)).toBeUndefined()
  })
})

describe('ending', () => {
  test('a stop before the claim ends the session at once and deletes its work order', async () => {
    const id = await system.store.createSession()
    await expectEventually(() => listed(id))
    await system.store.pool.query('update sessions set stop_requested_at = now() where id = $1', [id])
    system.reconciler.wake()
    const row = await ended(id, 'stopped')
    expect(row).toMatchObject({ reason: 'stopped_by_user', exit_code: null })
    expect(await system.store.count('session_orders', id)).toBe(0)
    await expectEventually(async () => (await system.local.countRunning(id)) === 0)
  })

  test('a stop of a queued session launches nothing', async () => {
    await system.reconciler.close()
    const id = await system.store.createSession({ stop_requested_at: new Date() })
    const again = reconcilerOf(system.store, system.local.launcher)
    again.start()
    await ended(id, 'stopped')
    await again.close()
    expect(await listed(id)).toBeUndefined()
  })

  test('a host that ignores a stop is removed after its grace period', async () => {
    const { id } = await running()
    await system.store.pool.query('update sessions set stop_requested_at = now() where id = $1', [id])
    system.reconciler.wake()
    await sleep(300)
    expect((await system.store.session(id)).status).toBe('starting')
    expect(await ended(id, 'stopped')).toMatchObject({ reason: 'stopped_by_user' })
    expect(await system.local.countRunning(id)).toBe(0)
    expect(await endpoint(id)).toBeUndefined()
  })

  test('a claimed session whose processes are gone for good is lost, but not at once', async () => {
    const { id, claim } = await running()
    const from = Date.now()
    await system.local.launcher.remove(id, claim.podUid)
    const row = await ended(id, 'lost')
    expect(Date.now() - from).toBeGreaterThanOrEqual(290)
    expect(row).toMatchObject({ reason: 'runner_lost', detail: expect.stringContaining('disappeared') })
  })

  test('a host that reports its end in time is believed, and its processes may stay for a while', async () => {
    const { id, claim } = await running()
    const url = `${system.internal.url}/internal/sessions/${id}/events`
    const at = new Date().toISOString()
    const json = { type: 'ended', at, status: 'succeeded', reason: null, detail: null, exitCode: 0, signal: null }
    expect((await call(url, claim.reportCredential, { json })).status).toBe(204)
    const from = Date.now()
    await expectEventually(async () => (await system.local.countRunning(id)) === 0)
    expect(Date.now() - from).toBeGreaterThanOrEqual(TIMINGS.lingerSeconds * 1000 - 100)
    expect(await system.store.session(id)).toMatchObject({ status: 'succeeded', reason: null })
    expect(await endpoint(id)).toBeUndefined()
  })

  test('processes of a session without a row are removed', async () => {
    const id = randomUUID()
    await system.local.launcher.launch(request(id))
    await expectEventually(async () => (await system.local.countRunning(id)) === 0)
  })

  test('a second launch is removed by its own id, and the one that holds the claim stays', async () => {
    const removed: (string | undefined)[][] = []
    const twins: Launched[] = []
    await start({
      wrap: (launcher) =>
        overriding(launcher, {
          list: async () => [...twins, ...(await launcher.list())],
          remove: async (id, launchId) => {
            removed.push([id, launchId])
            twins.length = 0
          },
        }),
    })
    const { id } = await running()
    twins.push({ sessionId: id, launchId: 'second', progress: 'running' })
    await expectEventually(async () => removed.length > 0)
    await sleep(250)
    expect(removed).toEqual([[id, 'second']])
    expect((await system.store.session(id)).status).toBe('starting')
  })

  test('expired rows are pruned in batches until none is left', async () => {
    const batches = [1000, 1000, 3, 0]
    const calls: number[] = []
    await start({
      prune: async () => {
        calls.push(batches[calls.length] ?? 0)
        return calls.at(-1)!
      },
    })
    await expectEventually(async () => calls.length >= 4)
    expect(calls.slice(0, 4)).toEqual(batches)
  })
})

describe('an unavailable database', () => {
  test('is not queried more often because of wake calls', async () => {
    let asked = 0
    const { default: pg } = await import('pg')
    const pool = Object.assign(new pg.Pool(), { connect: () => (asked++, Promise.reject(new Error('away'))) })
    const reconciler = reconcilerOf(system.store, system.local.launcher, { pool: pool as never })
    reconciler.start()
    const until = Date.now() + 1_000
    while (Date.now() < until) {
      reconciler.wake()
      await sleep(1)
    }
    await reconciler.close()
    await pool.end()
    expect(asked).toBeGreaterThan(3)
    expect(asked).toBeLessThan(13)
  })
})

describe('stopAll', () => {
  test('ends every session as stopped, and every process', async () => {
    const claimedOne = await running()
    const obeys = await running()
    const waits = await system.store.createSession()
    await expectEventually(() => listed(waits))
    const obeying = (async () => {
      const url = `${system.internal.url}/internal/sessions/${obeys.id}`
      const control = await call(`${url}/control`, obeys.claim.reportCredential, { method: 'GET' })
      for await (const chunk of control.body!.pipeThrough(new TextDecoderStream())) {
        if (!chunk.includes('stop')) continue
        const at = new Date().toISOString()
        const json = { type: 'ended', at, status: 'stopped', reason: 'stopped_by_user', detail: null, exitCode: null }
        await call(`${url}/events`, obeys.claim.reportCredential, { json: { ...json, signal: 'SIGTERM' } })
      }
    })()
    const from = Date.now()
    await system.reconciler.stopAll('server_stopped', 3_000)
    expect(Date.now() - from).toBeLessThan(4_000)
    await obeying
    for (const id of [claimedOne.id, obeys.id, waits]) {
      expect(await system.store.session(id)).toMatchObject({ status: 'stopped', reason: 'server_stopped' })
      expect(await system.local.countRunning(id)).toBe(0)
    }
    expect((await system.store.session(obeys.id))['signal']).toBe('SIGTERM')
    const later = await system.store.createSession()
    system.reconciler.wake()
    await sleep(300)
    expect((await system.store.session(later))['status']).toBe('queued')
  })

  test('is quick when all hosts obey, or nothing runs', async () => {
    const from = Date.now()
    await system.reconciler.stopAll('server_stopped', 10_000)
    expect(Date.now() - from).toBeLessThan(1_000)
  })

  test('kills everything in time when the database is unavailable', async () => {
    const { id } = await running()
    await system.reconciler.close()
    const { default: pg } = await import('pg')
    const pool = new pg.Pool({ host: '127.0.0.1', port: 1 })
    const away = reconcilerOf(system.store, system.local.launcher, { pool })
    const from = Date.now()
    await away.stopAll('server_stopped', 2_000)
    expect(Date.now() - from).toBeLessThan(3_000)
    expect(await system.local.countRunning(id)).toBe(0)
    await pool.end()
  })
})
