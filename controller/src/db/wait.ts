import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { findSchemaFault } from './schema-version.ts'

export interface WaitOptions {
  /** `database`: until it answers. `schema`: until this release can work with its schema, too. */
  readonly until: 'database' | 'schema'
  readonly limitMs: number
  readonly pauseMs?: number
  /** Told what it waits for, once for each different reason. */
  readonly report?: (reason: string) => void
}

/**
 * Waits for a database that is started, or migrated, by somebody else.
 *
 * @throws Error with the last reason when the limit is over.
 */
export async function waitForDatabase(databaseUrl: string, options: WaitOptions): Promise<void> {
  const { until, limitMs, pauseMs = 1_000, report } = options
  const end = Date.now() + limitMs
  let told: string | undefined
  for (;;) {
    const fault = await faultOf(databaseUrl, until)
    if (fault === undefined) return
    if (fault !== told) report?.(fault)
    told = fault
    if (Date.now() + pauseMs > end) throw new Error(`gave up after ${Math.round(limitMs / 1000)} s: ${fault}`)
    await sleep(pauseMs)
  }
}

/** Never the message of a failed connection: it may repeat parts of the URL. */
async function faultOf(databaseUrl: string, until: WaitOptions['until']): Promise<string | undefined> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'cliscale-wait',
    connectionTimeoutMillis: 5_000,
    query_timeout: 5_000,
  })
  // A lost connection fails the query under way; without a listener it would end the process as well.
  client.on('error', () => {})
  try {
    await client.connect()
    if (until === 'database') return void (await client.query('select 1'))
    return await findSchemaFault(client)
  } catch (error) {
    return `the database does not answer (${(error as { code?: string }).code ?? 'no answer'})`
  } finally {
    await client.end().catch(() => {})
  }
}
