import type { Queryable } from './database.ts'

/**
 * The schema of a migrated database as SQL, in an order that does not depend on how it came about; for reading and for
 * comparing, as `pg_dump` would be, which is not among the programs that we bring along.
 */
export async function dumpSchema(db: Queryable): Promise<string> {
  const parts: string[] = []
  for (const query of [TABLES, VIEWS, INDEXES, FUNCTIONS, TRIGGERS, GRANTS]) parts.push(...(await lines(db, query)))
  return `${parts.join('\n\n')}\n`
}

async function lines(db: Queryable, query: string): Promise<string[]> {
  const { rows } = await db.query<{ line: string }>(query)
  return rows.map((row) => row.line)
}

const OURS = "n.nspname = 'public' and c.relname not like 'knex%'"

const TABLES = `
  select format(E'create %stable %I (\\n%s\\n);', case c.relpersistence when 'u' then 'unlogged ' else '' end, c.relname,
    concat_ws(E',\\n', (
      select string_agg(format('  %I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attnotnull then ' not null' else '' end,
        coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')), E',\\n' order by a.attnum)
      from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ), (
      -- PostgreSQL 18 lists "not null" as constraints too; the columns have it.
      select string_agg(format('  constraint %I %s', conname, pg_get_constraintdef(oid)), E',\\n' order by conname)
      from pg_constraint where conrelid = c.oid and contype <> 'n'
    ))) as line
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where ${OURS} and c.relkind = 'r' order by c.relname`

const VIEWS = `
  select format(E'create view %I as\\n%s', c.relname, pg_get_viewdef(c.oid)) as line
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where ${OURS} and c.relkind = 'v' order by c.relname`

const INDEXES = `
  select pg_get_indexdef(i.indexrelid) || ';' as line
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
  where ${OURS} and not exists (select from pg_constraint where conindid = i.indexrelid)
  order by c.relname, i.indexrelid::regclass::text`

const FUNCTIONS = `
  select rtrim(pg_get_functiondef(p.oid), E'\\n') || ';' as line
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public' order by p.proname`

const TRIGGERS = `
  select pg_get_triggerdef(t.oid) || ';' as line
  from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
  where ${OURS} and not t.tgisinternal order by c.relname, t.tgname`

/** What the gateway's own role may do: whole tables, then single columns of those that it may not read as a whole. */
const GRANTS = `
  select format('grant %s on %I to cliscale_gateway;', string_agg(lower(privilege_type), ', ' order by privilege_type), table_name) as line
  from information_schema.role_table_grants where grantee = 'cliscale_gateway' and table_schema = 'public' group by table_name
  union all
  select format('grant %s (%s) on %I to cliscale_gateway;', lower(privilege_type), string_agg(column_name, ', ' order by column_name), table_name)
  from information_schema.column_privileges p
  where grantee = 'cliscale_gateway' and table_schema = 'public' and not exists (
    select from information_schema.role_table_grants t where t.grantee = p.grantee and t.table_schema = p.table_schema
      and t.table_name = p.table_name and t.privilege_type = p.privilege_type)
  group by table_name, privilege_type order by line`
