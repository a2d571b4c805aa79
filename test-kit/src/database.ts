import { randomBytes } from 'node:crypto'
import pg from 'pg'

export interface TestDatabase extends AsyncDisposable {
  /** Connects as superuser. */
  readonly url: string
  /** Runs one statement on a connection of its own. */
  query(sql: string, values?: unknown[]): Promise<pg.QueryResult>
}

/**
 * A database of its own on the run's PostgreSQL, empty or made by `prepare`; dropped on dispose, with every connection
 * to it.
 */
export async function createTestDatabase(prepare?: (url: string) => Promise<void>): Promise<TestDatabase> {
  const database = await create('template1')
  await prepare?.(database.url)
  return database
}

/**
 * Like createTestDatabase, but `prepare` runs once for each template in a whole run of the tests: what it made is
 * cloned. Callers that name the same template must prepare the same.
 */
export async function cloneTestDatabase(
  template: string,
  prepare: (url: string) => Promise<void>,
): Promise<TestDatabase> {
  await ensureTemplate(`template_${template}`, prepare)
  return create(`template_${template}`)
}

/** Test files run in processes of their own; the first one makes the template, and the others wait for it. */
async function ensureTemplate(name: string, prepare: (url: string) => Promise<void>): Promise<void> {
  await onServer(adminUrl(), async (client) => {
    await client.query('select pg_advisory_lock(hashtext($1))', [name])
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount === 1) return
    const draft = await create('template1')
    await prepare(draft.url)
    await client.query(`alter database ${databaseOf(draft.url)} rename to ${name}`)
  })
}

async function create(template: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  const admin = adminUrl()
  await onServer(admin, (client) => client.query(`create database ${name} template ${template}`))
  const url = admin.replace(/\/postgres\?/, `/${name}?`)
  return {
    url,
    query: (sql, values) => onServer(url, (client) => client.query(sql, values)),
    [Symbol.asyncDispose]: async () => {
      await onServer(admin, (client) => client.query(`drop database ${name} with (force)`))
    },
  }
}

function adminUrl(): string {
  const url = process.env['TEST_DATABASE_URL']
  if (!url) throw new Error('TEST_DATABASE_URL is not set: run the tests by "npm test" or "npx jest" from the root.')
  return url
}

function databaseOf(url: string): string {
  return /\/([a-z0-9_]+)\?/.exec(url)?.[1] ?? ''
}

async function onServer<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}
