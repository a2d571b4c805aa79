import type { Knex } from 'knex'

export const breaking = false

/**
 * What Kubernetes adds to a session: the image that it asked for, and why it waits. `wait_reason` and `wait_detail` are
 * about a session that is open; `reason` and `detail` about its end.
 */
export async function up(trx: Knex): Promise<void> {
  await trx.raw(`
    alter table sessions add column image text, add column wait_reason text, add column wait_detail text;
    comment on column sessions.image is 'a name of the operator''s list; null: the runner''s own';
    create or replace trigger sessions_notify
      after update of status, stage, stop_requested_at, wait_reason, wait_detail on sessions
      for each row execute function notify_session();
    do $$
    begin
      if exists (select from pg_roles where rolname = 'cliscale_gateway') then
        grant select (wait_reason, wait_detail) on sessions to cliscale_gateway;
      end if;
    end $$;
  `)
}

/** Refuses while open sessions run another image than the runner's own: what they run would be forgotten. */
export async function down(trx: Knex): Promise<void> {
  const { rows } = (await trx.raw(
    'select exists (select from sessions where image is not null and ended_at is null) as used',
  )) as { rows: { used: boolean }[] }
  if (rows[0]?.used) throw new Error('rollback refused: open sessions run images of their own; stop them first')
  await trx.raw(`
    create or replace trigger sessions_notify after update of status, stage, stop_requested_at on sessions
      for each row execute function notify_session();
    alter table sessions drop column image, drop column wait_reason, drop column wait_detail;
  `)
}
