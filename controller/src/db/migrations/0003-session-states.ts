import type { Knex } from 'knex'

export const breaking = false

/**
 * A session's state as people are shown it, and where its terminal listens: what the public API and the gateway read.
 * While a session is open, its reason is what it waits for; once it has ended, why it did. An endpoint counts only
 * when it is that of the launch that holds the claim.
 */
export async function up(trx: Knex): Promise<void> {
  await trx.raw(`
    create view session_states as
      select s.id, s.owner, s.kind, s.status, s.stage, s.stages,
        case when s.ended_at is null then coalesce(s.wait_reason, s.reason) else s.reason end as reason,
        case when s.ended_at is null and s.wait_reason is not null then s.wait_detail else s.detail end as detail,
        s.exit_code, s.signal, s.pod_uid, s.output_bytes, s.created_at, s.updated_at, s.started_at, s.ended_at,
        s.expires_at, e.pod_ip, e.port
      from sessions s left join session_endpoints e on e.session_id = s.id and e.pod_uid = s.pod_uid;
    do $$
    begin
      if exists (select from pg_roles where rolname = 'cliscale_gateway') then
        grant select (id, kind, status, stage, stages, reason, detail, exit_code, signal, pod_uid, output_bytes,
          created_at, updated_at, started_at, ended_at, pod_ip, port) on session_states to cliscale_gateway;
      end if;
    end $$;
  `)
}

export async function down(trx: Knex): Promise<void> {
  await trx.raw('drop view session_states')
}
