import knex, { type Knex } from 'knex'
import pg from 'pg'
import { admitGatewayLogin, ensureGatewayRole } from './gateway-login.ts'
import { type Migration, MIGRATIONS } from './migrations/index.ts'
import { BREAKING_SUFFIX, findSchemaFault } from './schema-version.ts'

/** Any number will do, as long as it stays the same. */
const LOCK = 7_080_768_100

/** Every failure reaches the caller as an error; knex would print it on stdout as well. */
const SILENT: Knex.Config['log'] = { warn() {}, error() {}, deprecate() {}, debug() {} }

export interface MigrateOptions {
  /** For tests: other migrations than those of this release. */
  readonly migrations?: readonly Migration[]
  /** A login that becomes a member of the gateway's role, where nobody else sees to that. */
  readonly gatewayLogin?: string | undefined
}

/**
 * Brings a database up to date, or takes the last step back. Several may call at once: an advisory lock lets one
 * through at a time (knex's own lock table races on an empty database and stays locked after a kill).
 *
 * The lock is held by a transaction of its own on a connection of its own, which does nothing else: so a step may run
 * outside a transaction (`create index concurrently`), and a step that fails leaves no other behind it half done.
 *
 * @returns the names of the migrations that were run.
 * @throws Error when a newer release set up the database and this one cannot work with it, or when a step fails or refuses.
 */
export async function migrate(
  databaseUrl: string,
  direction: 'latest' | 'rollback' = 'latest',
  options: MigrateOptions = {},
): Promise<string[]> {
  const migrations = options.migrations ?? MIGRATIONS
  const lock = new pg.Client({ connectionString: databaseUrl, application_name: 'cliscale-migrate' })
  // A lost connection fails the query under way; without a listener it would end the process as well.
  lock.on('error', () => {})
  await lock.connect()
  try {
    await lock.query('begin; set local idle_in_transaction_session_timeout = 0; set local lock_timeout = 0')
    await lock.query('select pg_advisory_xact_lock($1)', [LOCK])
    const fault = await findSchemaFault(lock, migrations, { pendingIsFine: true })
    if (fault !== undefined) throw new Error(fault)
    const login = direction === 'latest' ? options.gatewayLogin : undefined
    if (login !== undefined) await ensureGatewayRole(databaseUrl)
    const names = await runKnex(databaseUrl, direction, migrations)
    if (login !== undefined) await admitGatewayLogin(databaseUrl, login)
    return names
  } finally {
    await lock.end()
  }
}

async function runKnex(
  databaseUrl: string,
  direction: 'latest' | 'rollback',
  migrations: readonly Migration[],
): Promise<string[]> {
  // As connectionString pg reads it, also `?host=/folder/of/a/socket`; knex's own reader drops that.
  const db = knex({
    client: 'pg',
    connection: { connectionString: databaseUrl },
    pool: { min: 0, max: 2 },
    log: SILENT,
  })
  const config: Knex.MigratorConfig = {
    migrationSource: new Source(migrations),
    // A newer release may have added steps that this one can live with; findSchemaFault has judged them.
    disableMigrationsListValidation: true,
  }
  try {
    // We hold the advisory lock, so whoever left knex's own lock behind is dead.
    await db.migrate.forceFreeMigrationsLock(config)
    if (direction === 'rollback') await refuseForeignRollback(db, migrations)
    const ran: string[] = []
    for (;;) {
      // One step at a time: knex's `latest` would keep the locks of all until the last is done.
      const [, names] = (await (direction === 'latest' ? db.migrate.up(config) : db.migrate.down(config))) as [
        number,
        (string | Migration)[],
      ]
      ran.push(...names.map((name) => (typeof name === 'string' ? name : storedName(name))))
      if (names.length === 0 || direction === 'rollback') return ran
    }
  } finally {
    await db.destroy()
  }
}

class Source implements Knex.MigrationSource<Migration> {
  readonly #migrations: readonly Migration[]
  constructor(migrations: readonly Migration[]) {
    this.#migrations = migrations
  }
  getMigrations(): Promise<Migration[]> {
    return Promise.resolve([...this.#migrations])
  }
  getMigrationName(migration: Migration): string {
    return storedName(migration)
  }
  getMigration(migration: Migration): Promise<Knex.Migration> {
    return Promise.resolve(migration as Knex.Migration)
  }
}

/** The name in the table: an old release reads from it whether it can work with a step that it does not know. */
function storedName(migration: Migration): string {
  return migration.breaking ? `${migration.name}${BREAKING_SUFFIX}` : migration.name
}

async function refuseForeignRollback(db: Knex, migrations: readonly Migration[]): Promise<void> {
  const last = (await db('knex_migrations').orderBy('id', 'desc').first('name')) as { name: string } | undefined
  if (last !== undefined && !migrations.some((migration) => storedName(migration) === last.name))
    throw new Error(`rollback refused: the last step, ${last.name}, belongs to a newer release; use that release`)
}
