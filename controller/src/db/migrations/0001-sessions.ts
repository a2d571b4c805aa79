import type { Knex } from 'knex'

export const breaking = false

/**
 * Sessions and what belongs to them (docs/design.md). UNLOGGED tables are emptied when one database backend crashes:
 * a missing `token_jti` row means "used or expired", a missing `session_endpoints` row means "wait".
 */
export async function up(trx: Knex): Promise<void> {
  await trx.raw(`
    create table sessions (
      id uuid primary key,
      owner text not null,
      kind text not null default 'runner' check (kind in ('runner', 'ttyd')),
      status text not null default 'queued'
        check (status in ('queued', 'scheduling', 'starting', 'running', 'succeeded', 'failed', 'stopped', 'expired', 'lost')),
      stage text,
      reason text,
      detail text,
      exit_code integer,
      signal text,
      stages jsonb not null default '[]',
      code_url text,
      timeout_seconds integer not null,
      pod_uid text,
      claim_nonce_hash bytea,
      report_credential_hash bytea,
      claimed_at timestamptz,
      order_started_at timestamptz,
      stop_requested_at timestamptz,
      launched_at timestamptz,
      output_bytes bigint not null default 0,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      started_at timestamptz,
      ended_at timestamptz,
      expires_at timestamptz
    );
    comment on column sessions.code_url is 'without query: a signed URL is a secret';
    create index sessions_by_owner on sessions (owner, created_at desc, id desc);
    create index sessions_open on sessions (owner, status) where status in ('queued', 'scheduling', 'starting', 'running');
    create index sessions_by_expiry on sessions (expires_at) where expires_at is not null;

    create table session_orders (
      session_id uuid primary key references sessions (id) on delete cascade,
      ciphertext bytea not null,
      created_at timestamptz not null default now()
    );

    create table session_viewers (
      id uuid primary key,
      session_id uuid not null references sessions (id) on delete cascade,
      mode text not null check (mode in ('rw', 'ro')),
      secret_hash bytea not null,
      assertion text not null,
      created_at timestamptz not null default now(),
      expires_at timestamptz not null,
      revoked_at timestamptz
    );
    create index session_viewers_by_session on session_viewers (session_id);

    create table session_output (
      session_id uuid not null references sessions (id) on delete cascade,
      start_offset bigint not null,
      data bytea not null,
      columns integer not null,
      rows integer not null,
      created_at timestamptz not null default now(),
      primary key (session_id, start_offset)
    );

    create table idempotency_keys (
      owner text not null,
      key text not null,
      body_hmac bytea not null,
      -- Deferred: the key is taken before the session is written.
      session_id uuid not null references sessions (id) on delete cascade deferrable initially deferred,
      created_at timestamptz not null default now(),
      primary key (owner, key)
    );
    create index idempotency_keys_by_session on idempotency_keys (session_id);
    create index idempotency_keys_by_age on idempotency_keys (created_at);

    create unlogged table session_endpoints (
      session_id uuid primary key,
      pod_ip text not null,
      port integer not null,
      pod_uid text not null,
      updated_at timestamptz not null default now()
    );

    create unlogged table token_jti (
      jti uuid primary key,
      session_id uuid not null,
      mode text not null check (mode in ('rw', 'ro')),
      viewer_id uuid not null,
      assertion text not null,
      expires_at timestamptz not null
    );
    create index token_jti_by_expiry on token_jti (expires_at);

    create unlogged table rate_limits (
      key varchar(255) primary key,
      points integer not null default 0,
      expire bigint
    );

    create function notify_session() returns trigger language plpgsql as $$
    begin
      if tg_table_name = 'sessions' then
        perform pg_notify('cliscale_session', new.id::text);
      else
        perform pg_notify('cliscale_session', new.session_id::text);
      end if;
      return null;
    end $$;
    create trigger sessions_notify after update of status, stage, stop_requested_at on sessions
      for each row execute function notify_session();
    create trigger session_endpoints_notify after insert or update on session_endpoints
      for each row execute function notify_session();
  `)
  await grantGateway(trx)
}

/** The gateway's own role may consume a token, make and read viewers, and read endpoints, states and output; no order. */
async function grantGateway(trx: Knex): Promise<void> {
  await trx.raw(`
    do $$
    begin
      if not exists (select from pg_roles where rolname = 'cliscale_gateway') then
        begin
          create role cliscale_gateway nologin;
        exception
          when insufficient_privilege then
            raise notice 'role cliscale_gateway is absent and may not be created: the gateway needs another role';
            return;
          when duplicate_object or unique_violation then
            null; -- another database of this server was migrated at the same moment
        end;
      end if;
      grant usage on schema public to cliscale_gateway;
      grant select, delete on token_jti to cliscale_gateway;
      grant select, insert on session_viewers to cliscale_gateway;
      grant select on session_endpoints, session_output to cliscale_gateway;
      grant select (id, kind, status, stage, stages, reason, detail, exit_code, signal, pod_uid, output_bytes,
        created_at, updated_at, started_at, ended_at) on sessions to cliscale_gateway;
    end $$;
  `)
}

/** Refuses while sessions exist: it would lose them. */
export async function down(trx: Knex): Promise<void> {
  const { rows } = (await trx.raw('select exists (select from sessions) as used')) as { rows: { used: boolean }[] }
  if (rows[0]?.used) throw new Error('rollback refused: sessions exist and would be lost; delete them first')
  await trx.raw(`
    drop table rate_limits, token_jti, session_endpoints, idempotency_keys, session_output, session_viewers,
      session_orders, sessions;
    drop function notify_session();
  `)
}
