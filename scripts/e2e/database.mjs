/**
 * Makes what a release needs of a PostgreSQL server outside the cluster: a database, its owner, and a login role for
 * the gateway in the role `cliscale_gateway`. Repeatable. It reads `{adminUrl, name, ownerPassword, gatewayPassword,
 * drop?}` as JSON from standard input, and runs where the server can be reached.
 */
import pg from 'pg'

const { Client } = pg
const input = []
for await (const chunk of process.stdin) input.push(chunk)
const { adminUrl, name, ownerPassword, gatewayPassword, drop } = JSON.parse(Buffer.concat(input).toString())

async function withClient(url, use) {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000, statement_timeout: 30_000 })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

async function ensureRole(client, role, password) {
  const { rowCount } = await client.query('select from pg_roles where rolname = $1', [role])
  const id = client.escapeIdentifier(role)
  if (rowCount === 0) await client.query(`create role ${id} ${password ? 'login' : 'nologin'}`)
  if (password) await client.query(`alter role ${id} password ${client.escapeLiteral(password)}`)
}

async function ensure(client) {
  const database = client.escapeIdentifier(name)
  const gateway = client.escapeIdentifier(`${name}_gateway`)
  await ensureRole(client, 'cliscale_gateway')
  await ensureRole(client, name, ownerPassword)
  await ensureRole(client, `${name}_gateway`, gatewayPassword)
  await client.query(`grant cliscale_gateway to ${gateway}`)
  const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
  if (rowCount === 0) await client.query(`create database ${database} owner ${database}`)
  await client.query(`revoke connect on database ${database} from public`)
  await client.query(`grant connect on database ${database} to cliscale_gateway`)
}

async function remove(client) {
  await client.query(`drop database if exists ${client.escapeIdentifier(name)} with (force)`)
  for (const role of [`${name}_gateway`, name])
    await client.query(`drop role if exists ${client.escapeIdentifier(role)}`)
}

await withClient(adminUrl, drop ? remove : ensure)
