import { createHash, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { SessionEvent } from '@cliscale/contract'
import { createTestDatabase } from '@cliscale/test-kit'
import pg from 'pg'
import { migrate } from '../src/db/migrate.ts'
import { MIGRATIONS } from '../src/db/migrations/index.ts'
import { pruneExpired } from '../src/db/prune.ts'
import type { Identified } from '../src/launch/launcher.ts'
import { claimSession } from '../src/sessions/claim.ts'
import { applyReport, endSession, noteProgress, requestStop, takeQueued } from '../src/sessions/lifecycle.ts'
import { createStore, type Store } from './host-api-system.ts'

let store: Store
beforeAll(async () => {
  store = await createStore()
})
afterAll(async () => store[Symbol.asyncDispose]())

interface Row {
  readonly seq: number
  readonly at: Date
  readonly kind: string
  readonly data: Record<string, unknown>
}

interface Queries {
  query(sql: string, values?: unknown[]): Promise<{ rows: unknown[] }>
}

async function eventsOf(id: string, db: Queries = store.pool): Promise<Row[]> {
  const sql = 'select seq, at, kind, data from session_events where session_id = $1 order by seq'
  const rows = (await db.query(sql, [id])).rows as Row[]
  expect(rows.map((row) => row.seq)).toEqual(rows.map((_, i) => i + 1))
  return rows
}

/** Each event as one word and what it is about. */
async function told(id: string, db?: Queries): Promise<string[]> {
  const rows = await eventsOf(id, db)
  return rows.map(({ kind, data }) => `${kind} ${String(data['stage'] ?? data['status'] ?? data['reason'])}`)
}

/** The timeline of the public API, from events alone. */
async function timeline(id: string, db?: Queries): Promise<object[]> {
  const rows = await eventsOf(id, db)
  const time = (kind: string, stage: unknown): string | null =>
    rows.find((row) => row.kind === kind && row.data['stage'] === stage)?.at.toISOString() ?? null
  return rows
    .filter((row) => row.kind === 'stage_started')
    .map(({ data: { stage: name } }) => ({
      name,
      startedAt: time('stage_started', name),
      endedAt: time('stage_ended', name),
    }))
}

const launched = (sessionId: string): Identified => ({ sessionId, launchId: 'pod', progress: 'running' })
const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()
const HASHES = { nonce: sha256('nonce'), credential: sha256('credential') }
const claim = (id: string) => claimSession(store.pool, null, launched(id), HASHES)
const ENDED = {
  type: 'ended',
  status: 'failed',
  reason: 'exit_nonzero',
  detail: 'The command ended with exit code 3.',
  exitCode: 3,
  signal: null,
} as const
const report = (id: string, event: SessionEvent) =>
  applyReport(store.pool, id, event, { retentionSeconds: 60, now: new Date() })
const at = (): string => new Date().toISOString()

const LIFE = [
  'stage_started queued',
  'status queued',
  'stage_ended queued',
  'stage_started scheduling',
  'status scheduling',
  'wait unschedulable',
  'stage_ended scheduling',
  'status starting',
  'wait null',
  'stage_started fetching_code',
  'stage_ended fetching_code',
  'stage_started running',
  'status running',
  'stop_requested null',
  'stage_ended running',
  'ended failed',
]

/** A session from its creation to its end; each step also comes late, or twice. */
async function live(): Promise<string> {
  const id = await store.createSession()
  await takeQueued(store.pool, null, { limit: 10, maxAgeSeconds: 60 })
  for (let i = 0; i < 2; i++) {
    await noteProgress(store.pool, id, { pulling: false, wait: { reason: 'unschedulable', detail: 'No room.' } })
  }
  for (let i = 0; i < 2; i++) await claim(id)
  const steps: SessionEvent[] = [
    { type: 'stage', name: 'fetching_code', at: at() },
    { type: 'running', at: at() },
  ]
  for (const step of [...steps, ...steps]) await report(id, step)
  for (let i = 0; i < 2; i++) await requestStop(store.pool, 'o', id)
  for (let i = 0; i < 2; i++) await report(id, { ...ENDED, at: at() })
  for (const step of steps) await report(id, step)
  return id
}

describe('the events of a session', () => {
  test('tell its life once and in order, whatever is reported again, and hold its timeline', async () => {
    const id = await live()
    expect(await told(id)).toEqual(LIFE)
    const row = await store.session(id)
    expect(await timeline(id)).toEqual(row.stages)
    const rows = await eventsOf(id)
    expect(rows.find((event) => event.kind === 'wait')?.data).toEqual({ reason: 'unschedulable', detail: 'No room.' })
    const { type: _, ...end } = ENDED
    expect(rows.at(-1)).toMatchObject({ data: end, at: row.ended_at })
    expect(rows.find((event) => event.data['status'] === 'running')?.at).toEqual(row.started_at)
  })

  test('have no hole and no double when reports race', async () => {
    const id = await store.createSession()
    await claim(id)
    const stages = ['fetching_code', 'verifying', 'installing'] as const
    await Promise.all([
      ...stages.flatMap((name) => Array.from({ length: 5 }, () => report(id, { type: 'stage', name, at: at() }))),
      ...Array.from({ length: 5 }, () => requestStop(store.pool, 'o', id)),
    ])
    await Promise.all(
      Array.from({ length: 10 }, () => endSession(store.pool, id, { status: 'lost', reason: null }, 60)),
    )
    const words = await told(id)
    expect(new Set(words).size).toBe(words.length)
    expect(words.filter((word) => word.startsWith('ended'))).toEqual(['ended lost'])
    expect(words.at(-1)).toBe('ended lost')
    expect(await timeline(id)).toEqual((await store.session(id)).stages)
  })

  test('leave waits out from the 500th event on, and nothing else', async () => {
    const id = await store.createSession()
    const wait = (n: number) => ({ reason: 'image_pull', detail: `${n} `.padEnd(3000, 'x') }) as const
    for (let n = 0; n < 520; n++) await noteProgress(store.pool, id, { pulling: false, wait: wait(n) })
    expect((await eventsOf(id)).length).toBe(500)
    await report(id, { ...ENDED, at: at() })
    const rows = await eventsOf(id)
    expect(rows.slice(500).map((row) => row.kind)).toEqual(['stage_ended', 'ended'])
    expect(Math.max(...rows.map((row) => JSON.stringify(row.data).length))).toBeLessThan(2100)
  })

  test('come with one notification of each change', async () => {
    const client = new pg.Client({ connectionString: store.database.url })
    await client.connect()
    const heard: (string | undefined)[] = []
    client.on('notification', ({ payload }) => heard.push(payload))
    await client.query('listen cliscale_session')
    const id = await store.createSession()
    await claim(id)
    await report(id, { type: 'running', at: at() })
    await report(id, { ...ENDED, at: at() })
    await client.query('select 1')
    await client.end()
    expect(heard.filter((payload) => payload === id)).toHaveLength(3)
  })

  test('are removed with it', async () => {
    const id = await store.createSession()
    await report(id, { ...ENDED, at: at() })
    await store.pool.query("update sessions set expires_at = now() - interval '1 second' where id = $1", [id])
    while ((await pruneExpired(store.pool)) > 0);
    expect(await store.count('session_events', id)).toBe(0)
  })
})

test('an upgrade gives sessions their history, and what the older release goes on writing is told', async () => {
  const before = MIGRATIONS.filter(({ name }) => name < '0004')
  await using database = await createTestDatabase(
    async (url) => void (await migrate(url, 'latest', { migrations: before })),
  )
  const [open, ended, created] = [randomUUID(), randomUUID(), randomUUID()]
  const entry = (name: string, from: string, to: string | null) => ({
    name,
    startedAt: `2026-01-01T00:00:0${from}.000Z`,
    endedAt: to && `2026-01-01T00:00:0${to}.000Z`,
  })
  const stages = [entry('queued', '1', '2'), entry('scheduling', '2', '3')]
  const insert = `insert into sessions (id, owner, timeout_seconds, status, stage, stages, wait_reason, ended_at)
    values ($1, 'o', 60, $2, 'scheduling', $3, $4, $5)`
  await database.query(insert, [open, 'scheduling', JSON.stringify(stages), 'unschedulable', null])
  await database.query(insert, [ended, 'lost', JSON.stringify(stages), null, '2026-01-01T00:00:03Z'])
  await migrate(database.url)
  const history = ['stage_started queued', 'stage_ended queued', 'stage_started scheduling', 'stage_ended scheduling']
  expect(await told(open, database)).toEqual([...history, 'status scheduling', 'wait unschedulable'])
  expect(await told(ended, database)).toEqual([...history, 'ended lost'])
  for (const id of [open, ended]) expect(await timeline(id, database)).toEqual(stages)

  // The statement of the release before, word for word.
  await database.query(
    `update sessions set status = $2, stage = $3, stages = $4, started_at = coalesce(started_at, $5),
       wait_reason = null, wait_detail = null, updated_at = now() where id = $1`,
    [open, 'running', 'running', JSON.stringify([...stages, entry('running', '4', null)]), '2026-01-01T00:00:04Z'],
  )
  expect((await told(open, database)).slice(6)).toEqual(['stage_started running', 'status running', 'wait null'])
  await database.query(insert, [created, 'queued', JSON.stringify([entry('queued', '1', null)]), null, null])
  expect(await told(created, database)).toEqual(['stage_started queued', 'status queued'])
})
