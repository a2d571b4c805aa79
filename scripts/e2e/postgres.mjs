/** The release's database on a server outside the cluster, and the Secret by which the chart finds it. */
import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { root } from '../prepare.mjs'
import { apply, kubectl, run } from './cluster.mjs'

/** Where the test cluster's PostgreSQL is, as its administrator; E2E_DATABASE_URL on other clusters. */
function adminUrl(state) {
  if (process.env['E2E_DATABASE_URL']) return process.env['E2E_DATABASE_URL']
  return state.clusterFolder === null ? undefined : 'postgres://cliscale:cliscale@10.99.0.5:5432/cliscale'
}

/**
 * Makes database, roles and the Secret `cliscale-database` that names them. Passwords are made once: they are in the
 * Secret.
 *
 * @returns {Promise<string | null>} the database's name, or null when the chart's own PostgreSQL is to be used
 */
export async function provideDatabase(state, name, namespace) {
  const url = adminUrl(state)
  if (url === undefined) return null
  const { ownerPassword, gatewayPassword } = await passwords(state, namespace)
  await administer(state, { adminUrl: url, name, ownerPassword, gatewayPassword })
  const at = (user, password) => Object.assign(new URL(url), { username: user, password, pathname: `/${name}` }).href
  await apply(state, [
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'cliscale-database', namespace },
      stringData: {
        DATABASE_URL: at(name, ownerPassword),
        GATEWAY_DATABASE_URL: at(`${name}_gateway`, gatewayPassword),
      },
    },
  ])
  return name
}

/** Removes what `provideDatabase` made on the server. */
export async function dropDatabase(state, name = state.database) {
  const url = adminUrl(state)
  if (name && url !== undefined) await administer(state, { adminUrl: url, name, drop: true })
}

async function administer(state, input) {
  const program = [process.execPath, path.join(root, 'scripts/e2e/database.mjs')]
  // The test cluster's database answers only inside its network.
  const through = state.clusterFolder === null ? [] : [path.join(state.clusterFolder, 'outside')]
  const [command, ...args] = [...through, ...program]
  await run(command, args, { input: JSON.stringify(input), seconds: 60 })
}

async function passwords(state, namespace) {
  const get = ['get', 'secret', 'cliscale-database', '-n', namespace, '--ignore-not-found', '-o', 'json']
  const secret = JSON.parse((await kubectl(state, get)) || '{}')
  const read = (key) => {
    const text = secret.data?.[key]
    return text ? new URL(Buffer.from(text, 'base64').toString()).password : randomBytes(16).toString('hex')
  }
  return { ownerPassword: read('DATABASE_URL'), gatewayPassword: read('GATEWAY_DATABASE_URL') }
}
