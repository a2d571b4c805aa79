import pg from 'pg'

/** The migrations grant to this role what the gateway may do; logins become members of it. */
const ROLE = 'cliscale_gateway'

/**
 * Makes the role that the migrations grant the gateway's rights to, before the first of them runs.
 *
 * A managed database (Cloud SQL) gives a login membership in an administrators' role rather than the right to make
 * roles, and that right is not inherited: so it is made as whichever role we are a member of that may.
 *
 * @throws Error when nobody that this login is or may become can make roles.
 */
export async function ensureGatewayRole(databaseUrl: string): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    const found = await client.query('select from pg_roles where rolname = $1', [ROLE])
    if (found.rowCount !== 0) return
    await become(client, `create the role ${ROLE}`)
    await client.query(`create role ${ROLE} nologin`).catch((error: unknown) => {
      // Another database of this server is being migrated at the same moment.
      if (!['42710', '23505'].includes((error as pg.DatabaseError).code ?? '')) throw error
    })
  })
}

/**
 * Makes a login a member of the gateway's role; does nothing where it is one.
 *
 * @throws Error when there is no such login, or when it may not be made a member.
 */
export async function admitGatewayLogin(databaseUrl: string, login: string): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ statement: string; member: boolean }>(
      `select format('grant %I to %I', $2::text, rolname) as statement, pg_has_role(rolname, $2, 'member') as member
       from pg_roles where rolname = $1`,
      [login, ROLE],
    )
    const [found] = rows
    if (found === undefined)
      throw new Error(
        `the database has no login ${login}, which CLISCALE_GATEWAY_DATABASE_USER names; create it first (on Cloud SQL: gcloud sql users create)`,
      )
    if (found.member) return
    await become(client, `make ${login} a member of ${ROLE}`)
    await client.query(found.statement)
  })
}

/** Goes on as a role that may make roles: ourselves, if we may. Only for this connection. */
async function become(client: pg.Client, what: string): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(
    `select format('set role %I', rolname) as statement from pg_roles
     where (rolcreaterole or rolsuper) and pg_has_role(oid, 'member') order by rolname <> current_user limit 1`,
  )
  const [maker] = rows
  if (maker === undefined)
    throw new Error(`this login may not ${what}; give it CREATEROLE, or have an administrator do it once`)
  await client.query(maker.statement)
}

async function withClient(databaseUrl: string, use: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'cliscale-migrate' })
  client.on('error', () => {})
  await client.connect()
  try {
    await use(client)
  } finally {
    await client.end()
  }
}
