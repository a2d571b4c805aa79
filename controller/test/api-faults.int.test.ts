import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { startTestPostgres, type TestPostgres } from '@cliscale/test-kit'
import pg from 'pg'
import { migrate } from '../src/db/migrate.ts'
import { type Answer, type Api, KEY_A, startApi } from './api-system.ts'

let postgres: TestPostgres
beforeAll(async () => {
  postgres = await startTestPostgres()
  await migrate(postgres.url)
})
afterAll(async () => {
  await postgres[Symbol.asyncDispose]()
})

async function withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: postgres.url })
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}

/** Every call that needs the database. */
async function callAll(api: Api, id: string): Promise<Answer[]> {
  return Promise.all([
    api.create(),
    api.create(undefined, { 'Idempotency-Key': 'k' }),
    api.call('GET', '/api/sessions'),
    api.call('GET', `/api/sessions/${id}`),
    api.call('DELETE', `/api/sessions/${id}`),
    api.call('POST', `/api/sessions/${id}/token`),
    api.call('GET', `/api/sessions/${id}/logs`),
  ])
}

function expectUnavailable(answers: readonly Answer[]): void {
  for (const { status, json, headers } of answers) {
    expect([status, json.code]).toEqual([503, 'store_unavailable'])
    expect(headers.get('retry-after')).toBe('5')
    expect(json.detail).not.toMatch(/ECONN|ENOENT|timeout|sql/i)
  }
}

async function expectHealthyButNotReady(api: Api): Promise<void> {
  const startedAt = Date.now()
  expect((await api.call('GET', '/healthz')).status).toBe(200)
  expect((await api.call('GET', '/.well-known/jwks.json')).status).toBe(200)
  expect(Date.now() - startedAt).toBeLessThan(1_500)
  const ready = await api.call('GET', '/readyz')
  expect([ready.status, ready.json.code]).toEqual([503, 'store_unavailable'])
  expect(Date.now() - startedAt).toBeLessThan(5_000)
}

async function untilReady(api: Api): Promise<void> {
  for (let i = 0; i < 100 && (await api.call('GET', '/readyz')).status !== 200; i += 1) await sleep(100)
}

describe('a database that', () => {
  test('is stopped: calls are refused at once, the process stays alive, and everything works when it is back', async () => {
    await using api = await startApi({ database: postgres })
    const { sessionId } = (await api.create()).json
    await postgres.stop()
    const startedAt = Date.now()
    expectUnavailable(await callAll(api, sessionId))
    expect(Date.now() - startedAt).toBeLessThan(4_000)
    await expectHealthyButNotReady(api)
    await postgres.start()
    await untilReady(api)
    expect((await callAll(api, sessionId)).map(({ status }) => status)).toEqual([201, 201, 200, 200, 202, 201, 200])
  })

  test('hangs: calls are refused in time, the process stays alive, and everything works when it goes on', async () => {
    await using api = await startApi({ database: postgres, statementTimeoutMs: 1_000, connectTimeoutMs: 1_000 })
    const { sessionId } = (await api.create()).json
    await Promise.all(Array.from({ length: 5 }, () => api.call('GET', '/readyz')))
    const pids = await withClient(async (client) => {
      const { rows } = await client.query<{ pid: number }>(
        'select pid from pg_stat_activity where pid <> pg_backend_pid()',
      )
      return [postgres.pid(), ...rows.map(({ pid }) => pid)]
    })
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    try {
      const startedAt = Date.now()
      expectUnavailable(await callAll(api, sessionId))
      expect(Date.now() - startedAt).toBeLessThan(6_000)
      await expectHealthyButNotReady(api)
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT')
    }
    await untilReady(api)
    expect((await api.create()).status).toBe(201)
  })

  test('loses a process to kill -9: what was accepted stays, and lost tokens are made anew', async () => {
    await using api = await startApi({ database: postgres })
    const sessions = await Promise.all(
      Array.from({ length: 20 }, (_, i) => api.create(undefined, { 'Idempotency-Key': `crash-${i}` })),
    )
    await withClient(async (client) => {
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
      process.kill(rows[0]!.pid, 'SIGKILL')
      await sleep(200)
    })
    const during = await api.create()
    expect([201, 503]).toContain(during.status)
    await untilReady(api)
    const { rows } = await api.pool.query('select count(*)::int as n from token_jti')
    expect(rows[0].n).toBeLessThanOrEqual(1)
    for (const [i, { json }] of sessions.entries()) {
      const token = await api.call('POST', `/api/sessions/${json.sessionId}/token`)
      expect(token.status).toBe(201)
      const again = await api.create(undefined, { 'Idempotency-Key': `crash-${i}` })
      expect(again.json.sessionId).toBe(json.sessionId)
    }
    const orders = await api.pool.query('select count(*)::int as n from session_orders where session_id = any($1)', [
      sessions.map(({ json }) => json.sessionId),
    ])
    expect(orders.rows[0].n).toBe(20)
  })

  test('breaks off in the middle of a log: the reader can tell that the log is incomplete', async () => {
    await using api = await startApi({ database: postgres })
    const { sessionId } = (await api.create()).json
    await api.pool.query(
      `insert into session_output (session_id, start_offset, data, columns, rows)
       select $1, n * 65536, decode(repeat('61', 65536), 'hex'), 120, 40 from generate_series(0, 399) n`,
      [sessionId],
    )
    const response = await fetch(`${api.url}/api/sessions/${sessionId}/logs`, {
      headers: { Authorization: `Bearer ${KEY_A}` },
    })
    const reader = response.body!.getReader()
    await reader.read()
    await postgres.stop()
    const rest = (async () => {
      while (!(await reader.read()).done);
    })()
    await expect(rest).rejects.toThrow('terminated')
    await postgres.start()
    await untilReady(api)
  })
})

describe('a pool that', () => {
  test('is exhausted: calls are refused in time instead of waiting for ever', async () => {
    await using api = await startApi({ database: postgres, poolSize: 2, connectTimeoutMs: 500 })
    const { sessionId } = (await api.create()).json
    const held = [await api.pool.connect(), await api.pool.connect()]
    const startedAt = Date.now()
    expectUnavailable(await callAll(api, sessionId))
    expect(Date.now() - startedAt).toBeLessThan(4_000)
    expect((await api.call('GET', '/healthz')).status).toBe(200)
    for (const client of held) client.release()
    expect((await api.create()).status).toBe(201)
  })

  test('waits for a lock that is never released: the call is refused, and its connection works again', async () => {
    await using api = await startApi({ database: postgres, poolSize: 2, statementTimeoutMs: 1_000 })
    const holder = new pg.Client({ connectionString: postgres.url })
    await holder.connect()
    await holder.query('begin')
    await holder.query('lock table sessions in exclusive mode')
    expectUnavailable(await Promise.all([api.create(), api.create()]))
    await holder.query('rollback')
    await holder.end()
    expect((await api.create()).status).toBe(201)
    expect(api.pool.totalCount).toBeLessThanOrEqual(2)
  })
})

describe('a server that shuts down', () => {
  test('reports that it is not ready, and still answers requests', async () => {
    await using api = await startApi({ database: postgres })
    api.controller.beginDrain()
    const ready = await api.call('GET', '/readyz')
    expect([ready.status, ready.json.code]).toEqual([503, 'shutting_down'])
    expect((await api.call('GET', '/healthz')).status).toBe(200)
    expect((await api.call('GET', '/api/sessions')).status).toBe(200)
  })
})
