import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '@cliscale/test-kit'
import { migrate } from '../src/db/migrate.ts'
import { waitForDatabase } from '../src/db/wait.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(async () => database[Symbol.asyncDispose]())

describe('waiting for a database that something else brings up', () => {
  test('ends with what the database lacks when nobody migrates it', async () => {
    const told: string[] = []
    const waiting = waitForDatabase(database.url, {
      until: 'schema',
      limitMs: 300,
      pauseMs: 50,
      report: (reason) => told.push(reason),
    })
    await expect(waiting).rejects.toThrow(/gave up after 0 s: the database lacks 0001-sessions/)
    expect(told).toHaveLength(1)
  })

  test('ends without showing the address when the database cannot be reached', async () => {
    const waiting = waitForDatabase('postgres://user:s3cret@127.0.0.1:1/nothing', {
      until: 'database',
      limitMs: 100,
      pauseMs: 20,
    })
    const error = await waiting.catch((reason: unknown) => reason as Error)
    expect((error as Error).message).toBe('gave up after 0 s: the database does not answer (ECONNREFUSED)')
  })

  test('goes on as soon as the database answers and as soon as it is migrated', async () => {
    await expect(waitForDatabase(database.url, { until: 'database', limitMs: 1_000 })).resolves.toBeUndefined()
    const waiting = waitForDatabase(database.url, { until: 'schema', limitMs: 20_000, pauseMs: 50 })
    await migrate(database.url)
    await waiting
  })
})
