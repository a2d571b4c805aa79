import { randomBytes } from 'node:crypto'
import pg from 'pg'

export interface TestDatabase extends AsyncDisposable {
  /** Connects as superuser. */
  readonly url: string
  /** Runs one statement on a connection of its own. */
  query(sql: string, values?: unknown[]): Promise<pg.QueryResult>
}

/**
 * A database of its own on the run's PostgreSQL, empty or migrated by `prepare`; dropped on dispose, with every
 * connection to it.
 */
export async function createTestDatabase(prepare?: (url: string) => Promise<void>): Promise<TestDatabase> {
  const adminUrl = process.env['TEST_DATABASE_URL']
  if (!adminUrl)
    throw new Error('TEST_DATABASE_URL is not set: run the tests by "npm test" or "npx jest" from the root.')
  const name = `test_${randomBytes(6).toString('hex')}`
  await onServer(adminUrl, `create database ${name}`)
  const url = adminUrl.replace(/\/postgres\?/, `/${name}?`)
  await prepare?.(url)
  return {
    url,
    query: async (sql, values) => {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      try {
        return await client.query(sql, values)
      } finally {
        await client.end()
      }
    },
    [Symbol.asyncDispose]: () => onServer(adminUrl, `drop database ${name} with (force)`),
  }
}

async function onServer(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
