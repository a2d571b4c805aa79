import { migrate } from '@cliscale/controller'
import type { LocalPostgres } from '@cliscale/local-postgres'
import pg from 'pg'
import type { Secrets } from './secrets.ts'

const DATABASE = 'cliscale'
const CONTROLLER = 'cliscale_controller'
const GATEWAY = 'cliscale_gateway'

export interface DatabaseUrls {
  readonly controller: string
  /** A role that may open terminals and nothing else; absent with a PostgreSQL of the operator's. */
  readonly gateway?: string
}

/** Where each role connects to. */
export function databaseUrls(server: LocalPostgres, secrets: Secrets): DatabaseUrls {
  return {
    controller: server.url({ user: CONTROLLER, password: secrets.controllerPassword, database: DATABASE }),
    gateway: server.url({ user: GATEWAY, password: secrets.gatewayPassword, database: DATABASE }),
  }
}

/** Makes the roles and the database where they are missing, sets the roles' passwords, and runs the migrations. */
export async function prepareDatabase(server: LocalPostgres, secrets: Secrets): Promise<void> {
  const { superuserPassword: password } = secrets
  await withClient(server.url({ user: 'postgres', password, database: 'postgres' }), async (client) => {
    await ensureRole(client, CONTROLLER, secrets.controllerPassword)
    await ensureRole(client, GATEWAY, secrets.gatewayPassword)
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE])
    if (rowCount === 0) await client.query(`create database ${DATABASE} owner ${CONTROLLER}`)
    await client.query(`revoke connect on database ${DATABASE} from public`)
    await client.query(`grant connect on database ${DATABASE} to ${GATEWAY}`)
  })
  await migrate(databaseUrls(server, secrets).controller)
}

async function ensureRole(client: pg.Client, name: string, password: string): Promise<void> {
  const { rowCount } = await client.query('select from pg_roles where rolname = $1', [name])
  if (rowCount === 0) await client.query(`create role ${name}`)
  await client.query(`alter role ${name} login password ${client.escapeLiteral(password)}`)
}

/** Runs the migrations on a PostgreSQL of the operator's. */
export async function migrateExisting(url: string): Promise<void> {
  await withClient(url, async (client) => void (await client.query('select 1')))
  await migrate(url)
}

async function withClient(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
