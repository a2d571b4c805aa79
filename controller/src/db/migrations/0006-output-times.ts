import type { Knex } from 'knex'

export const breaking = false

/** When the bytes of a chunk were read from the terminal: `[[byte, ms], …]`, as OutputTimes of the contract. */
export async function up(trx: Knex): Promise<void> {
  await trx.raw(`
    alter table session_output add column times jsonb;
    comment on column session_output.times is '[[byte of the chunk, ms since 1970], ...]; null: not known';
  `)
}

/** The times are lost, which nothing of a session depends on. */
export async function down(trx: Knex): Promise<void> {
  await trx.raw('alter table session_output drop column times')
}
