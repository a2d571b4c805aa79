import { spawn } from 'node:child_process'
import { mkdtemp, rm, chmod, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type LocalPostgres, startPostgres } from '@cliscale/local-postgres'
import pg from 'pg'
import { migrate } from '../src/db/migrate.ts'

const CLI = fileURLToPath(new URL('../dist/db/migrate-cli.js', import.meta.url))
const GATEWAY = 'cliscale-gateway@my-project.iam'

/**
 * Roles as Cloud SQL has them: the database belongs to `cloudsqlsuperuser`, which may make roles; the controller's login
 * is a member of it and may not; the gateway's login has nothing. A server of its own, because roles are a server's.
 */
let dataDir: string
let server: LocalPostgres

async function sql(login: { user: string; password: string; database?: string }, ...statements: string[]) {
  const client = new pg.Client({ connectionString: server.url({ database: 'cliscale', ...login }) })
  await client.connect()
  try {
    let rows: Record<string, unknown>[] = []
    for (const statement of statements) rows = (await client.query<Record<string, unknown>>(statement)).rows
    return rows
  } finally {
    await client.end()
  }
}

const admin = { user: 'postgres', password: 'admin' }
const gateway = { user: GATEWAY, password: 'gateway' }
const urlOf = (user: string, password: string) => server.url({ user, password, database: 'cliscale' })

beforeAll(async () => {
  dataDir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-roles-'))
  await chmod(dataDir, 0o755)
  server = await startPostgres({ dataDir, password: 'admin', disposable: true })
  await sql(
    { ...admin, database: 'postgres' },
    'create role cloudsqlsuperuser nologin createrole createdb',
    `create role "controller@my-project.iam" login password 'controller' in role cloudsqlsuperuser`,
    `create role "${GATEWAY}" login password 'gateway'`,
    `create role nobody_special login password 'nobody'`,
    'create database cliscale owner cloudsqlsuperuser',
  )
})

afterAll(async () => {
  await server.stop()
  await rm(dataDir, { recursive: true, force: true })
})

describe('the login of the gateway', () => {
  test('that does not exist is named, and nobody gains access to anything of the gateway’s', async () => {
    const url = urlOf('controller@my-project.iam', 'controller')
    await expect(migrate(url, 'latest', { gatewayLogin: 'nobody@my-project.iam' })).rejects.toThrow(
      'the database has no login nobody@my-project.iam, which CLISCALE_GATEWAY_DATABASE_USER names',
    )
    await expect(sql(gateway, 'select id from sessions')).rejects.toThrow('permission denied')
  })

  test('is admitted by a login that may make roles only as a member of an administrators’ role', async () => {
    const url = urlOf('controller@my-project.iam', 'controller')
    await migrate(url, 'latest', { gatewayLogin: GATEWAY })
    expect(await migrate(url, 'latest', { gatewayLogin: GATEWAY })).toEqual([])
    expect(await sql(gateway, 'select id, wait_reason from sessions')).toEqual([])
    await expect(sql(gateway, 'select * from session_orders')).rejects.toThrow('permission denied')
    await expect(sql(gateway, 'select * from session_events')).rejects.toThrow('permission denied')
    await expect(sql(gateway, 'select owner from sessions')).rejects.toThrow('permission denied')
  })

  test('is not admitted when the login that migrates may admit nobody', async () => {
    await sql(
      { ...admin, database: 'postgres' },
      `create role latecomer login password 'late'`,
      'create database other owner nobody_special',
    )
    const url = server.url({ user: 'nobody_special', password: 'nobody', database: 'other' })
    await expect(migrate(url, 'latest', { gatewayLogin: 'latecomer' })).rejects.toThrow(
      'this login may not make latecomer a member of cliscale_gateway; give it CREATEROLE',
    )
  })

  test('comes from the environment for the program of the chart’s hook, and the database’s address from a file', async () => {
    const file = path.join(dataDir, 'DATABASE_URL')
    await writeFile(file, `${urlOf('controller@my-project.iam', 'controller')}\n`)
    const env = { ...process.env, CLISCALE_DATABASE_URL_FILE: file, CLISCALE_GATEWAY_DATABASE_USER: 'not-there' }
    const child = spawn(process.execPath, [CLI, 'latest'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const [stderr, code] = await Promise.all([
      text(child.stderr),
      new Promise((resolve) => child.once('close', (status) => resolve(status))),
    ])
    expect(stderr).toContain('the database has no login not-there')
    expect(code).toBe(1)
  })
})
