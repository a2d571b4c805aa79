import type { Knex } from 'knex'

export const breaking = false

/**
 * Where a session runs. A release that does not know the column launches every session with its only launcher; so this
 * release reads it, and the first to write it is a later one.
 */
export async function up(trx: Knex): Promise<void> {
  await trx.raw(`
    alter table sessions add column backend text;
    comment on column sessions.backend is 'the launcher that it runs with; null: the default one';
  `)
}

/** Refuses while an open session names a backend: it would be launched with the default one as well. */
export async function down(trx: Knex): Promise<void> {
  const { rows } = (await trx.raw(
    'select exists (select from sessions where backend is not null and ended_at is null) as used',
  )) as { rows: { used: boolean }[] }
  if (rows[0]?.used)
    throw new Error('rollback refused: open sessions name the backend that they run with; stop them first')
  await trx.raw('alter table sessions drop column backend')
}
