import type { Queryable } from './database.ts'
import { type Migration, MIGRATIONS } from './migrations/index.ts'

/** Ends the stored name of a step that the release before it cannot work with. */
export const BREAKING_SUFFIX = '.breaking'

/**
 * Why this release cannot work with the schema of a database, as a sentence; undefined when it can. A schema may be
 * newer, as long as no step of it that we do not know is marked as breaking. Call it before serving.
 */
export async function findSchemaFault(
  db: Queryable,
  migrations: readonly Migration[] = MIGRATIONS,
  options: { pendingIsFine: boolean } = { pendingIsFine: false },
): Promise<string | undefined> {
  const table = await db.query<{ there: boolean }>("select to_regclass('knex_migrations') is not null as there")
  const done = table.rows[0]?.there ? await stepsDone(db) : new Set<string>()
  const known = new Set(migrations.map(({ name, breaking }) => (breaking ? `${name}${BREAKING_SUFFIX}` : name)))
  const breaking = [...done].filter((name) => !known.has(name) && name.endsWith(BREAKING_SUFFIX))
  if (breaking.length > 0)
    return `the database was set up by a newer release, which this one cannot work with (${breaking.join(', ')}); install that release`
  const pending = [...known].filter((name) => !done.has(name))
  if (pending.length > 0 && !options.pendingIsFine)
    return `the database lacks ${pending.join(', ')}; run the migrations first (npm run migrate:latest -w controller)`
  return undefined
}

async function stepsDone(db: Queryable): Promise<Set<string>> {
  const { rows } = await db.query<{ name: string }>('select name from knex_migrations')
  return new Set(rows.map((row) => row.name))
}
