import { describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '@cliscale/test-kit'
import { migrate } from '../src/db/migrate.ts'
import { type Migration, MIGRATIONS } from '../src/db/migrations/index.ts'
import { findSchemaFault } from '../src/db/schema-version.ts'

function step(name: string, sql: string, extra: Partial<Migration> = {}): Migration {
  return { name, breaking: false, up: (trx) => trx.raw(sql), down: (trx) => trx.raw('select 1'), ...extra }
}

async function tables(database: TestDatabase): Promise<string[]> {
  const { rows } = await database.query(
    "select tablename from pg_tables where schemaname = 'public' and tablename not like 'knex%' order by 1",
  )
  return rows.map((row: { tablename: string }) => row.tablename)
}

const TABLES = [
  'idempotency_keys',
  'rate_limits',
  'session_endpoints',
  'session_events',
  'session_orders',
  'session_output',
  'session_viewers',
  'sessions',
  'token_jti',
]

async function rollbackAll(database: TestDatabase): Promise<void> {
  while ((await migrate(database.url, 'rollback')).length > 0);
}

describe('migrations', () => {
  test('run once each when twenty migrators start together on an empty database', async () => {
    await using database = await createTestDatabase()
    const ran = await Promise.all(Array.from({ length: 20 }, () => migrate(database.url)))
    expect(ran.flat()).toEqual(MIGRATIONS.map((migration) => migration.name))
    expect(await tables(database)).toEqual(TABLES)
    expect(await migrate(database.url)).toEqual([])
  }, 60_000)

  test('can be undone one at a time, and done again', async () => {
    await using database = await createTestDatabase(async (url) => void (await migrate(url)))
    const names = MIGRATIONS.map((migration) => migration.name)
    for (const name of names.toReversed()) expect(await migrate(database.url, 'rollback')).toEqual([name])
    expect(await tables(database)).toEqual([])
    expect(await migrate(database.url, 'rollback')).toEqual([])
    expect(await migrate(database.url)).toEqual(names)
  })

  test('refuse to be undone where sessions would be lost', async () => {
    await using database = await createTestDatabase(async (url) => void (await migrate(url)))
    await database.query("insert into sessions (id, owner, timeout_seconds) values (gen_random_uuid(), 'a', 60)")
    await expect(rollbackAll(database)).rejects.toThrow('rollback refused: sessions exist')
    expect(await tables(database)).toEqual(TABLES)
  })

  test('refuse to be undone where an open session would move to another backend', async () => {
    await using database = await createTestDatabase(async (url) => void (await migrate(url)))
    const insert = "insert into sessions (id, owner, timeout_seconds, backend) values (gen_random_uuid(), 'a', 60, 'b')"
    await database.query(insert)
    const steps = MIGRATIONS.slice(0, MIGRATIONS.findIndex(({ name }) => name === '0007-backends') + 1)
    const undo = () => migrate(database.url, 'rollback', { migrations: steps })
    await expect(undo()).rejects.toThrow('rollback refused: open sessions name the backend')
    await database.query("update sessions set status = 'lost', ended_at = now()")
    expect(await undo()).toEqual(['0007-backends'])
  })

  test('get past a lock that a killed migrator left behind', async () => {
    await using database = await createTestDatabase(async (url) => void (await migrate(url)))
    await database.query('update knex_migrations_lock set is_locked = 1')
    const later = [...MIGRATIONS, step('0002-later', 'create table later ()')]
    expect(await migrate(database.url, 'latest', { migrations: later })).toEqual(['0002-later'])
  })

  test('leave nothing of a step that fails, and continue from there', async () => {
    await using database = await createTestDatabase(async (url) => void (await migrate(url)))
    const broken = [...MIGRATIONS, step('0002-broken', 'create table half (); select no_such_function()')]
    await expect(migrate(database.url, 'latest', { migrations: broken })).rejects.toThrow(/no_such_function/)
    expect(await tables(database)).toEqual(TABLES)
    const mended = [...MIGRATIONS, step('0002-broken', 'create table whole ()')]
    expect(await migrate(database.url, 'latest', { migrations: mended })).toEqual(['0002-broken'])
  })

  test('finish each step, and give up its locks, before the next one begins', async () => {
    await using database = await createTestDatabase(async (url) => void (await migrate(url)))
    const found: unknown[] = []
    const up = async (): Promise<void> => {
      // A connection of its own sees only what is committed.
      found.push(...(await database.query("select to_regclass('early') is not null as early")).rows)
    }
    const two = [...MIGRATIONS, step('0002-early', 'create table early ()'), step('0003-late', '', { up })]
    expect(await migrate(database.url, 'latest', { migrations: two })).toEqual(['0002-early', '0003-late'])
    expect(found).toEqual([{ early: true }])
  })

  test('may contain a step that cannot run in a transaction', async () => {
    await using database = await createTestDatabase(async (url) => void (await migrate(url)))
    const sql = 'create index concurrently sessions_by_reason on sessions (reason)'
    const later = [...MIGRATIONS, step('0002-index', sql, { config: { transaction: false } })]
    expect(await migrate(database.url, 'latest', { migrations: later })).toEqual(['0002-index'])
  })

  test('of an old release accept a newer schema, unless one of its steps is breaking', async () => {
    await using database = await createTestDatabase(async (url) => void (await migrate(url)))
    const newer = [...MIGRATIONS, step('0002-newer', 'create table newer ()')]
    await migrate(database.url, 'latest', { migrations: newer })
    expect(await migrate(database.url)).toEqual([])
    expect(await findSchemaFault(database)).toBeUndefined()
    await expect(migrate(database.url, 'rollback')).rejects.toThrow('0002-newer, belongs to a newer release')

    const breaking = [...newer, step('0003-rename', 'alter table newer rename to newest', { breaking: true })]
    await migrate(database.url, 'latest', { migrations: breaking })
    expect(await findSchemaFault(database, breaking)).toBeUndefined()
    expect(await findSchemaFault(database)).toMatch(
      /newer release, which this one cannot work with \(0003-rename.breaking\)/,
    )
    await expect(migrate(database.url)).rejects.toThrow('install that release')
  })

  test('that are missing are named before serving', async () => {
    await using database = await createTestDatabase()
    expect(await findSchemaFault(database)).toMatch(/lacks 0001-sessions, .*; run the migrations first/)
    await migrate(database.url)
    expect(await findSchemaFault(database)).toBeUndefined()
  })
})
