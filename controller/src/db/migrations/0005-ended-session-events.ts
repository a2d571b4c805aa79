import type { Knex } from 'knex'

export const breaking = false

/**
 * The history of sessions that ended under an earlier release: writing them again has the trigger of the step before
 * record it. Nobody else writes such a row, and this column tells nobody.
 */
export async function up(trx: Knex): Promise<void> {
  await trx.raw(`
    update sessions set ended_at = ended_at
    where ended_at is not null and not exists (select from session_events where session_id = sessions.id)
  `)
}

/** Nothing: the events go with their table. */
export async function down(): Promise<void> {}
