import { randomUUID } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { createMigratedDatabase } from './database.ts'
import { type Answer, KEY_B, startApi } from './api-system.ts'

const countOf = async (api: { pool: { query: (sql: string) => Promise<{ rows: { n: number }[] }> } }, table: string) =>
  (await api.pool.query(`select count(*)::int as n from ${table}`)).rows[0]!.n

function byStatus(answers: readonly Answer[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

describe('an Idempotency-Key', () => {
  test('makes one session of 200 identical requests at once, with 200 valid tokens and no rate limit', async () => {
    await using api = await startApi({ settings: { sessionsPerMinute: 5 }, poolSize: 4 })
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => api.create({ command: 'true' }, { 'Idempotency-Key': 'one' })),
    )
    expect(byStatus(answers)).toEqual({ 201: 200 })
    expect(new Set(answers.map(({ json }) => json.sessionId)).size).toBe(1)
    expect(new Set(answers.map(({ json }) => json.sessionJWT)).size).toBe(200)
    expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(199)
    expect([await countOf(api, 'sessions'), await countOf(api, 'token_jti')]).toEqual([1, 200])
  })

  test('does so across three replicas as well', async () => {
    await using database = await createMigratedDatabase()
    const dataKey = Buffer.alloc(32, 7)
    const options = { database, poolSize: 3, settings: { sessionsPerMinute: 5, dataKey } }
    await using one = await startApi(options)
    await using two = await startApi(options)
    await using three = await startApi(options)
    const answers = await Promise.all(
      Array.from({ length: 90 }, (_, i) => [one, two, three][i % 3]!.create(undefined, { 'Idempotency-Key': 'k' })),
    )
    expect(byStatus(answers)).toEqual({ 201: 90 })
    expect(new Set(answers.map(({ json }) => json.sessionId)).size).toBe(1)
    expect(await countOf(one, 'sessions')).toBe(1)
  })

  test('lets many different keys pass at once through a pool of two connections', async () => {
    await using api = await startApi({ poolSize: 2 })
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => api.create(undefined, { 'Idempotency-Key': `k${i % 20}` })),
    )
    expect(byStatus(answers)).toEqual({ 201: 60 })
    expect(await countOf(api, 'sessions')).toBe(20)
  })

  test('answers 422 to another body, at once and later, and creates nothing for it', async () => {
    await using api = await startApi()
    const key = { 'Idempotency-Key': 'k' }
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => api.create({ command: i % 2 ? 'echo a' : 'echo b' }, key)),
    )
    expect(byStatus(answers)).toEqual({ 201: 10, 422: 10 })
    expect(await countOf(api, 'sessions')).toBe(1)
    const later = await api.create({ command: 'echo c' }, key)
    expect([later.status, later.json.code]).toEqual([422, 'idempotency_key_reused'])
  })

  test('waits for an equal request that another process is still writing', async () => {
    await using api = await startApi()
    const client = await api.pool.connect()
    const id = randomUUID()
    const first = await api.create({ command: 'true' }, { 'Idempotency-Key': 'seed' })
    const seed = (await api.pool.query('select owner, body_hmac from idempotency_keys')).rows[0]
    await client.query('begin')
    await client.query('insert into sessions (id, owner, timeout_seconds) values ($1, $2, 60)', [id, seed.owner])
    await client.query('insert into idempotency_keys (owner, key, body_hmac, session_id) values ($1, $2, $3, $4)', [
      seed.owner,
      'busy',
      seed.body_hmac,
      id,
    ])
    const equal = api.create({ command: 'true' }, { 'Idempotency-Key': 'busy' })
    const early = await Promise.race([equal, new Promise((resolve) => setTimeout(() => resolve('waits'), 300))])
    expect(early).toBe('waits')
    await client.query('commit')
    client.release()
    expect((await equal).json.sessionId).toBe(id)
    expect(first.json.sessionId).not.toBe(id)
  })

  test('treats bodies as equal whatever their key order and whitespace, and belongs to one owner', async () => {
    await using api = await startApi()
    const key = { 'Idempotency-Key': 'k' }
    const one = await api.call('POST', '/api/sessions', '{"command":"true","env":{"A":"1","B":"2"}}', key)
    const two = await api.call('POST', '/api/sessions', '{ "env": {"B":"2", "A":"1"},\n "command": "true" }', key)
    expect(two.json.sessionId).toBe(one.json.sessionId)
    const other = await api.create({ command: 'other' }, { ...key, Authorization: `Bearer ${KEY_B}` })
    expect(other.status).toBe(201)
    expect(other.json.sessionId).not.toBe(one.json.sessionId)
  })

  test('is free again after a refused creation, and after 24 hours', async () => {
    await using api = await startApi({ settings: { maxActiveSessions: 1 } })
    const first = await api.create(undefined, { 'Idempotency-Key': 'first' })
    const refused = await api.create({ command: 'a' }, { 'Idempotency-Key': 'second' })
    expect(refused.json.code).toBe('quota_exceeded')
    await api.pool.query("update sessions set status = 'succeeded', ended_at = now()")
    expect((await api.create({ command: 'b' }, { 'Idempotency-Key': 'second' })).status).toBe(201)
    await api.pool.query("update sessions set status = 'succeeded', ended_at = now()")
    await api.pool.query("update idempotency_keys set created_at = now() - interval '24 hours 1 second'")
    const later = await api.create({ command: 'c' }, { 'Idempotency-Key': 'first' })
    expect(later.status).toBe(201)
    expect(later.headers.get('idempotent-replayed')).toBeNull()
    expect(later.json.sessionId).not.toBe(first.json.sessionId)
  })

  test('stores no body and no token in the table', async () => {
    await using api = await startApi()
    await api.create({ command: 'echo canary', env: { A: 'canary' } }, { 'Idempotency-Key': 'k' })
    const { rows } = await api.pool.query('select * from idempotency_keys')
    expect(Object.keys(rows[0]).sort()).toEqual(['body_hmac', 'created_at', 'key', 'owner', 'session_id'])
    expect(rows[0].body_hmac).toHaveLength(32)
  })

  test.each(['', 'a'.repeat(256), 'ä', 'a\tb'])('%j is refused', async (key) => {
    await using api = await startApi()
    const { status, json } = await api.create(undefined, { 'Idempotency-Key': key })
    expect([status, json.code]).toEqual([400, 'idempotency_key_invalid'])
    expect(await countOf(api, 'sessions')).toBe(0)
  })
})

describe('the rate limit', () => {
  test('applies across all replicas, counts only well-formed creations, and says when to try again', async () => {
    await using database = await createMigratedDatabase()
    const options = { database, settings: { sessionsPerMinute: 5 } }
    await using one = await startApi(options)
    await using two = await startApi(options)
    for (let i = 0; i < 10; i += 1) expect((await one.create({ command: '' })).status).toBe(400)
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => [one, two][i % 2]!.create()))
    expect(byStatus(answers)).toEqual({ 201: 5, 429: 7 })
    const refused = answers.find(({ status }) => status === 429)!
    expect(refused.json.code).toBe('rate_limited')
    expect(refused.json.detail).toMatch(/at most 5 sessions a minute/)
    const seconds = Number(refused.headers.get('retry-after'))
    expect(seconds).toBeGreaterThan(50)
    expect(seconds).toBeLessThanOrEqual(60)
    expect(await countOf(one, 'sessions')).toBe(5)
    await one.pool.query('update rate_limits set expire = expire - 60000')
    expect((await two.create()).status).toBe(201)
  })

  test('does not count a creation that the quota refused', async () => {
    await using api = await startApi({ settings: { sessionsPerMinute: 3, maxActiveSessions: 1 } })
    await api.create()
    for (let i = 0; i < 6; i += 1) expect((await api.create()).json.code).toBe('quota_exceeded')
    await api.pool.query("update sessions set status = 'succeeded', ended_at = now()")
    expect((await api.create()).status).toBe(201)
  })

  test('trusts X-Forwarded-For as far as the trusted hops reach, and counts one /64 as one client', async () => {
    await using direct = await startApi({ settings: { sessionsPerMinute: 2 } })
    const from = (api: typeof direct, address: string) => api.create(undefined, { 'X-Forwarded-For': address })
    for (const [i, expected] of [201, 201, 429].entries())
      expect((await from(direct, `198.51.100.${i}`)).status).toBe(expected)

    await using proxied = await startApi({ settings: { sessionsPerMinute: 2, trustedProxyHops: 1 } })
    for (const address of ['198.51.100.1', '198.51.100.2', '1.1.1.1, 198.51.100.3'])
      expect((await from(proxied, address)).status).toBe(201)
    expect((await from(proxied, '2.2.2.2, 198.51.100.3')).status).toBe(201)
    expect((await from(proxied, '3.3.3.3, 198.51.100.3')).status).toBe(429)
    for (const [address, expected] of [
      ['2001:db8:1:2::1', 201],
      ['2001:db8:1:2:ffff::9', 201],
      ['2001:db8:1:2:3::7', 429],
      ['2001:db8:1:3::1', 201],
      ['::ffff:198.51.100.3', 429],
    ] as const)
      expect([address, (await from(proxied, address)).status]).toEqual([address, expected])
  })

  test('starts over when a crash of the database has emptied its table', async () => {
    await using api = await startApi({ settings: { sessionsPerMinute: 1 } })
    await api.create()
    expect((await api.create()).status).toBe(429)
    await api.pool.query('truncate rate_limits')
    expect((await api.create()).status).toBe(201)
  })
})

describe('the quota of open sessions', () => {
  test('holds exactly for each owner when many requests come at once', async () => {
    await using api = await startApi({ settings: { maxActiveSessions: 7 } })
    const answers = await Promise.all(Array.from({ length: 30 }, () => api.create()))
    expect(byStatus(answers)).toEqual({ 201: 7, 429: 23 })
    const refused = answers.find(({ status }) => status === 429)!
    expect(refused.json.code).toBe('quota_exceeded')
    expect(refused.json.detail).toMatch(/You have 7 open sessions and may have 7/)
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
    expect((await api.create(undefined, { Authorization: `Bearer ${KEY_B}` })).status).toBe(201)
  })
})
