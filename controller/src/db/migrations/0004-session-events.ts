import type { Knex } from 'knex'

export const breaking = false

/**
 * What happened to a session, in order: rows that are only added, numbered from 1 for each session, and removed with it.
 * `sessions` is what a session is now, this is how it came to be so. A trigger writes it, in the transaction and under
 * the row lock of the change itself: so no writer can forget it, the release before among them, and a report that
 * changes nothing adds nothing. A session without events gets its whole history at its next change, from its row.
 *
 * | kind | data | at |
 * |---|---|---|
 * | stage_started, stage_ended | stage | as in `sessions.stages`: the host's clock, never in the future |
 * | status | status, an open one | |
 * | stop_requested | reason, where nobody asked for the end of this session | |
 * | wait | reason, detail; both null: it waits no longer | |
 * | ended | status, reason, detail, exitCode, signal; nothing follows | |
 *
 * `seq` gives the order; `at` need not. A session has each status and each stage once, so only waits could go on for ever:
 * those after the first 500 events are left out.
 */
export async function up(trx: Knex): Promise<void> {
  await trx.raw(`
    -- Before a controller has a row that it will write: else it would wait for us, and the update below for it.
    lock table sessions in exclusive mode;

    create table session_events (
      session_id uuid not null references sessions (id) on delete cascade,
      seq integer not null,
      at timestamptz not null,
      kind text not null check (kind in ('stage_started', 'stage_ended', 'status', 'stop_requested', 'wait', 'ended')),
      data jsonb not null,
      primary key (session_id, seq)
    );

    create function record_session_events() returns trigger language plpgsql as $$
    declare
      recorded integer := (select coalesce(max(seq), 0) from session_events where session_id = new.id);
      whole boolean := recorded = 0;
    begin
      insert into session_events (session_id, seq, at, kind, data)
      select new.id, recorded + row_number() over (order by event.place, event.entry, event.kind desc),
        coalesce(event.at, clock_timestamp()), event.kind, event.data
      from (
        select 1 as place, entry.number as entry, (entry.value ->> 'startedAt')::timestamptz as at,
          'stage_started' as kind, jsonb_build_object('stage', entry.value -> 'name') as data
        from jsonb_array_elements(new.stages) with ordinality as entry (value, number)
        where whole or entry.number > jsonb_array_length(old.stages)
        union all
        select 1, entry.number, (entry.value ->> 'endedAt')::timestamptz, 'stage_ended',
          jsonb_build_object('stage', entry.value -> 'name')
        from jsonb_array_elements(new.stages) with ordinality as entry (value, number)
        where entry.value ->> 'endedAt' is not null
          and (whole or old.stages -> (entry.number::integer - 1) ->> 'endedAt' is null)
        union all
        select 2, 0, case new.status when 'queued' then new.created_at when 'running' then new.started_at end,
          'status', jsonb_build_object('status', new.status)
        where new.ended_at is null and (whole or new.status <> old.status)
        union all
        select 3, 0, new.stop_requested_at, 'stop_requested', jsonb_build_object('reason', new.reason)
        where new.stop_requested_at is not null and (whole or old.stop_requested_at is null)
        union all
        select 4, 0, null, 'wait', jsonb_build_object('reason', new.wait_reason, 'detail', left(new.wait_detail, 2000))
        where new.ended_at is null and recorded < 500
          and (new.wait_reason, new.wait_detail) is distinct from
            (case when not whole then old.wait_reason end, case when not whole then old.wait_detail end)
        union all
        select 5, 0, new.ended_at, 'ended', jsonb_build_object('status', new.status, 'reason', new.reason,
          'detail', new.detail, 'exitCode', new.exit_code, 'signal', new.signal)
        where new.ended_at is not null and (whole or old.ended_at is null)
      ) as event;
      return null;
    end $$;
    create trigger sessions_events
      after insert or update of status, stages, stop_requested_at, wait_reason, wait_detail, ended_at on sessions
      for each row execute function record_session_events();

    -- Open sessions get their history now, and ended ones in the next step, where it keeps nobody waiting.
    update sessions set ended_at = ended_at where ended_at is null;
  `)
}

/** Refuses while sessions exist: what they waited for is nowhere else. */
export async function down(trx: Knex): Promise<void> {
  const { rows } = (await trx.raw('select exists (select from session_events) as used')) as {
    rows: { used: boolean }[]
  }
  if (rows[0]?.used)
    throw new Error('rollback refused: sessions exist and their events would be lost; delete them first')
  await trx.raw(
    'drop trigger sessions_events on sessions; drop function record_session_events(); drop table session_events',
  )
}
