import { randomUUID } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { createLogger, createPool } from '@cliscale/service-kit'
import { pruneExpired } from '../src/db/prune.ts'
import { IDEMPOTENCY_HOURS } from '../src/sessions/idempotency.ts'
import { createMigratedDatabase } from './database.ts'

async function withPool(work: (pool: ReturnType<typeof createPool>) => Promise<void>): Promise<void> {
  await using database = await createMigratedDatabase()
  const logger = createLogger({ service: 'test', level: 'silent' })
  const pool = createPool({ connectionString: database.url, max: 3, applicationName: 'test', logger })
  try {
    await work(pool)
  } finally {
    await pool.end()
  }
}

test('what has expired is deleted, with all that belongs to it, and nothing else', () =>
  withPool(async (pool) => {
    const [expired, kept, open] = [randomUUID(), randomUUID(), randomUUID()]
    await pool.query(
      `insert into sessions (id, owner, timeout_seconds, status, ended_at, expires_at) values
         ($1, 'a', 60, 'succeeded', now() - interval '2 hours', now() - interval '1 second'),
         ($2, 'a', 60, 'succeeded', now(), now() + interval '1 minute'), ($3, 'a', 60, 'running', null, null)`,
      [expired, kept, open],
    )
    for (const id of [expired, kept, open]) {
      await pool.query(
        `insert into session_output (session_id, start_offset, data, columns, rows) values ($1, 0, 'x', 80, 24)`,
        [id],
      )
      await pool.query(
        `insert into session_viewers (id, session_id, mode, secret_hash, assertion, expires_at)
         values (gen_random_uuid(), $1, 'rw', 'x', 'x', now() + interval '1 hour')`,
        [id],
      )
    }
    await pool.query(
      `insert into token_jti (jti, session_id, mode, viewer_id, assertion, expires_at)
       select gen_random_uuid(), $1, 'rw', gen_random_uuid(), 'x', now() + n * interval '2 minutes'
       from generate_series(-3, 2) n`,
      [open],
    )
    await pool.query(
      `insert into idempotency_keys (owner, key, body_hmac, session_id, created_at)
       values ('a', 'old', 'x', $1, now() - make_interval(hours => $2, mins => 1)),
         ('a', 'new', 'x', $1, now() - make_interval(hours => $2, mins => -5))`,
      [open, IDEMPOTENCY_HOURS],
    )
    await pool.query(
      `insert into rate_limits values ('old', 1, (extract(epoch from now()) - 120) * 1000), ('new', 1, extract(epoch from now()) * 1000)`,
    )
    while ((await pruneExpired(pool)) > 0);
    const { rows } = await pool.query(
      `select (select array_agg(id::text order by id) from sessions) as sessions,
         (select count(*)::int from session_output) as output, (select count(*)::int from session_viewers) as viewers,
         (select count(*)::int from token_jti) as tokens, (select array_agg(key) from idempotency_keys) as keys,
         (select array_agg(key) from rate_limits) as limits`,
    )
    expect(rows[0]).toEqual({
      sessions: [kept, open].toSorted(),
      output: 2,
      viewers: 2,
      tokens: 3,
      keys: ['new'],
      limits: ['new'],
    })
  }))

test('a batch is bounded, two replicas take different rows, and a locked row is left', () =>
  withPool(async (pool) => {
    await pool.query(
      `insert into sessions (id, owner, timeout_seconds, status, ended_at, expires_at)
       select gen_random_uuid(), 'a', 60, 'succeeded', now(), now() - interval '1 hour' from generate_series(1, 130)`,
    )
    const holder = await pool.connect()
    await holder.query('begin')
    await holder.query('select id from sessions limit 1 for update')
    const [one, two] = await Promise.all([pruneExpired(pool), pruneExpired(pool)])
    expect([one, two]).toEqual([50, 50])
    expect(await pruneExpired(pool)).toBe(29)
    expect(await pruneExpired(pool)).toBe(0)
    await holder.query('commit')
    holder.release()
    expect(await pruneExpired(pool)).toBe(1)
  }))

test('20,000 expired rows do not slow the writing of new ones', () =>
  withPool(async (pool) => {
    const session = randomUUID()
    const insert = async (): Promise<number> => {
      const startedAt = performance.now()
      await pool.query(
        `insert into token_jti (jti, session_id, mode, viewer_id, assertion, expires_at)
         values (gen_random_uuid(), $1, 'rw', gen_random_uuid(), 'x', now() + interval '5 minutes')`,
        [session],
      )
      return performance.now() - startedAt
    }
    const p99 = async (): Promise<number> => {
      const times: number[] = []
      for (let i = 0; i < 400; i += 1) times.push(await insert())
      return times.toSorted((a, b) => a - b)[395]!
    }
    await p99()
    const before = await p99()
    await pool.query(
      `insert into token_jti (jti, session_id, mode, viewer_id, assertion, expires_at)
       select gen_random_uuid(), $1, 'rw', gen_random_uuid(), repeat('x', 600), now() - interval '1 hour'
       from generate_series(1, 20000)`,
      [session],
    )
    const [pruning, during] = await Promise.all([
      (async () => {
        let removed = 0
        for (let batch = await pruneExpired(pool); batch > 0; batch = await pruneExpired(pool)) removed += batch
        return removed
      })(),
      p99(),
    ])
    expect(pruning).toBe(20_000)
    // The measured figure is 2; the rest is for a noisy machine with two cores.
    expect(during).toBeLessThan(Math.max(before * 8, 50))
  }))
