import { chmod, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { type LocalPostgres, startPostgres } from '@cliscale/local-postgres'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { type PgProxy, startPgProxy } from '../src/pg-proxy.ts'
import { ALL, Fleet } from '../src/fleet.ts'
import { type System, startSystem } from '../src/system.ts'

const PASSWORD = 'superuser'

let dir: string
let postgres: LocalPostgres
let proxy: PgProxy
let system: System
beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'cs-crash-'))
  await chmod(dir, 0o755)
  postgres = await startPostgres({ dataDir: path.join(dir, 'postgres'), password: PASSWORD })
  proxy = await startPgProxy(path.join(postgres.socketDir, '.s.PGSQL.5432'))
  await sql('create database cliscale')
  system = await startSystem({
    CLISCALE_DATABASE_URL: `postgresql://postgres:${PASSWORD}@127.0.0.1:${proxy.port}/cliscale`,
  })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
  await postgres.stop()
  await rm(dir, { recursive: true, force: true })
})

async function sql(text: string, database = 'postgres'): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: postgres.url({ user: 'postgres', password: PASSWORD, database }) })
  await client.connect()
  try {
    return await client.query(text)
  } finally {
    await client.end()
  }
}

test('kill -9 of one database backend: all sessions go on, and can be attached to again within 10 s', async () => {
  const fleet = await Fleet.start(system, dir)
  await fleet.untilRunning()
  const { rows } = await sql(
    "select pid from pg_stat_activity where datname = 'cliscale' and backend_type = 'client backend' limit 1",
  )
  process.kill((rows[0] as { pid: number }).pid, 'SIGKILL')
  await fleet.attachAll(10_000)
  expect(await fleet.outcome()).toEqual(ALL)
})

test('kill -9 of the server: all sessions go on, and can be attached to again within 10 s', async () => {
  const fleet = await Fleet.start(system, dir)
  await fleet.untilRunning()
  process.kill(await system.serverPid(), 'SIGKILL')
  await fleet.attachAll(10_000)
  expect(await fleet.outcome()).toEqual(ALL)
})

test('kill -9 of the server between the COMMIT of a claim and its answer: each session runs once', async () => {
  let killed = 0
  proxy.cutAtCommit(/claim_nonce_hash/, () => {
    killed++
    void system.serverPid().then((pid) => process.kill(pid, 'SIGKILL'))
  })
  const fleet = await Fleet.start(system, dir)
  expect(await fleet.outcome()).toEqual(ALL)
  expect(killed).toBe(1)
})
