-- Made by "npm run generate -w controller" from the migrations. Do not edit.

create table idempotency_keys (
  owner text not null,
  key text not null,
  body_hmac bytea not null,
  session_id uuid not null,
  created_at timestamp with time zone not null default now(),
  constraint idempotency_keys_pkey PRIMARY KEY (owner, key),
  constraint idempotency_keys_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);

create unlogged table rate_limits (
  key character varying(255) not null,
  points integer not null default 0,
  expire bigint,
  constraint rate_limits_pkey PRIMARY KEY (key)
);

create unlogged table session_endpoints (
  session_id uuid not null,
  pod_ip text not null,
  port integer not null,
  pod_uid text not null,
  updated_at timestamp with time zone not null default now(),
  constraint session_endpoints_pkey PRIMARY KEY (session_id)
);

create table session_events (
  session_id uuid not null,
  seq integer not null,
  at timestamp with time zone not null,
  kind text not null,
  data jsonb not null,
  constraint session_events_kind_check CHECK ((kind = ANY (ARRAY['stage_started'::text, 'stage_ended'::text, 'status'::text, 'stop_requested'::text, 'wait'::text, 'ended'::text]))),
  constraint session_events_pkey PRIMARY KEY (session_id, seq),
  constraint session_events_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE
);

create table session_orders (
  session_id uuid not null,
  ciphertext bytea not null,
  created_at timestamp with time zone not null default now(),
  constraint session_orders_pkey PRIMARY KEY (session_id),
  constraint session_orders_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE
);

create table session_output (
  session_id uuid not null,
  start_offset bigint not null,
  data bytea not null,
  columns integer not null,
  rows integer not null,
  created_at timestamp with time zone not null default now(),
  times jsonb,
  constraint session_output_pkey PRIMARY KEY (session_id, start_offset),
  constraint session_output_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE
);

create table session_viewers (
  id uuid not null,
  session_id uuid not null,
  mode text not null,
  secret_hash bytea not null,
  assertion text not null,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  revoked_at timestamp with time zone,
  constraint session_viewers_mode_check CHECK ((mode = ANY (ARRAY['rw'::text, 'ro'::text]))),
  constraint session_viewers_pkey PRIMARY KEY (id),
  constraint session_viewers_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE
);

create table sessions (
  id uuid not null,
  owner text not null,
  kind text not null default 'runner'::text,
  status text not null default 'queued'::text,
  stage text,
  reason text,
  detail text,
  exit_code integer,
  signal text,
  stages jsonb not null default '[]'::jsonb,
  code_url text,
  timeout_seconds integer not null,
  pod_uid text,
  claim_nonce_hash bytea,
  report_credential_hash bytea,
  claimed_at timestamp with time zone,
  order_started_at timestamp with time zone,
  stop_requested_at timestamp with time zone,
  launched_at timestamp with time zone,
  output_bytes bigint not null default 0,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  started_at timestamp with time zone,
  ended_at timestamp with time zone,
  expires_at timestamp with time zone,
  image text,
  wait_reason text,
  wait_detail text,
  backend text,
  constraint sessions_kind_check CHECK ((kind = ANY (ARRAY['runner'::text, 'ttyd'::text]))),
  constraint sessions_pkey PRIMARY KEY (id),
  constraint sessions_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'scheduling'::text, 'starting'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'stopped'::text, 'expired'::text, 'lost'::text])))
);

create unlogged table token_jti (
  jti uuid not null,
  session_id uuid not null,
  mode text not null,
  viewer_id uuid not null,
  assertion text not null,
  expires_at timestamp with time zone not null,
  constraint token_jti_mode_check CHECK ((mode = ANY (ARRAY['rw'::text, 'ro'::text]))),
  constraint token_jti_pkey PRIMARY KEY (jti)
);

create view session_states as
 SELECT s.id,
    s.owner,
    s.kind,
    s.status,
    s.stage,
    s.stages,
        CASE
            WHEN (s.ended_at IS NULL) THEN COALESCE(s.wait_reason, s.reason)
            ELSE s.reason
        END AS reason,
        CASE
            WHEN ((s.ended_at IS NULL) AND (s.wait_reason IS NOT NULL)) THEN s.wait_detail
            ELSE s.detail
        END AS detail,
    s.exit_code,
    s.signal,
    s.pod_uid,
    s.output_bytes,
    s.created_at,
    s.updated_at,
    s.started_at,
    s.ended_at,
    s.expires_at,
    e.pod_ip,
    e.port
   FROM (sessions s
     LEFT JOIN session_endpoints e ON (((e.session_id = s.id) AND (e.pod_uid = s.pod_uid))));

CREATE INDEX idempotency_keys_by_age ON public.idempotency_keys USING btree (created_at);

CREATE INDEX idempotency_keys_by_session ON public.idempotency_keys USING btree (session_id);

CREATE INDEX session_viewers_by_session ON public.session_viewers USING btree (session_id);

CREATE INDEX sessions_by_expiry ON public.sessions USING btree (expires_at) WHERE (expires_at IS NOT NULL);

CREATE INDEX sessions_by_owner ON public.sessions USING btree (owner, created_at DESC, id DESC);

CREATE INDEX sessions_open ON public.sessions USING btree (owner, status) WHERE (status = ANY (ARRAY['queued'::text, 'scheduling'::text, 'starting'::text, 'running'::text]));

CREATE INDEX token_jti_by_expiry ON public.token_jti USING btree (expires_at);

CREATE OR REPLACE FUNCTION public.notify_session()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      if tg_table_name = 'sessions' then
        perform pg_notify('cliscale_session', new.id::text);
      else
        perform pg_notify('cliscale_session', new.session_id::text);
      end if;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.record_session_events()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
    end $function$;

CREATE TRIGGER session_endpoints_notify AFTER INSERT OR UPDATE ON public.session_endpoints FOR EACH ROW EXECUTE FUNCTION notify_session();

CREATE TRIGGER sessions_events AFTER INSERT OR UPDATE OF status, stages, stop_requested_at, wait_reason, wait_detail, ended_at ON public.sessions FOR EACH ROW EXECUTE FUNCTION record_session_events();

CREATE TRIGGER sessions_notify AFTER UPDATE OF status, stage, stop_requested_at, wait_reason, wait_detail ON public.sessions FOR EACH ROW EXECUTE FUNCTION notify_session();

grant delete, select on token_jti to cliscale_gateway;

grant insert, select on session_viewers to cliscale_gateway;

grant select (created_at, detail, ended_at, exit_code, id, kind, output_bytes, pod_ip, pod_uid, port, reason, signal, stage, stages, started_at, status, updated_at) on session_states to cliscale_gateway;

grant select (created_at, detail, ended_at, exit_code, id, kind, output_bytes, pod_uid, reason, signal, stage, stages, started_at, status, updated_at, wait_detail, wait_reason) on sessions to cliscale_gateway;

grant select on session_endpoints to cliscale_gateway;

grant select on session_output to cliscale_gateway;
