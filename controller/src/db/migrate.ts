import knex, { type Knex } from 'knex'
import * as m0001 from './migrations/0001-sessions.ts'

interface Migration {
  readonly name: string
  up(trx: Knex): Promise<void>
  down(trx: Knex): Promise<void>
}

/** All migrations in order. Listed in code, so that a file's extension is no part of its name. */
const MIGRATIONS: readonly Migration[] = [{ name: '0001-sessions', up: m0001.up, down: m0001.down }]

const SOURCE: Knex.MigrationSource<Migration> = {
  getMigrations: () => Promise.resolve([...MIGRATIONS]),
  getMigrationName: (migration) => migration.name,
  getMigration: (migration) => Promise.resolve(migration),
}

/** Any number will do, as long as it stays the same. */
const LOCK = 7_080_768_100

/**
 * Brings a database up to date, or takes the last step back. Several may call at once: an advisory lock lets one
 * through at a time (knex's own lock table races on an empty database and stays locked after a kill).
 *
 * @returns the names of the migrations that were run.
 */
export async function migrate(databaseUrl: string, direction: 'latest' | 'rollback' = 'latest'): Promise<string[]> {
  const db = knex({ client: 'pg', connection: databaseUrl, pool: { min: 0, max: 1 } })
  try {
    return await db.transaction(async (trx) => {
      await trx.raw('select pg_advisory_xact_lock(?)', [LOCK])
      const config = { migrationSource: SOURCE, disableMigrationsListValidation: false, disableTransactions: true }
      await trx
        .raw("update knex_migrations_lock set is_locked = 0 where to_regclass('knex_migrations_lock') is not null")
        .catch(ignoreMissing)
      const [, names] = (await (direction === 'latest'
        ? trx.migrate.latest(config)
        : trx.migrate.rollback(config))) as [number, string[]]
      return names
    })
  } finally {
    await db.destroy()
  }
}

function ignoreMissing(): void {}
