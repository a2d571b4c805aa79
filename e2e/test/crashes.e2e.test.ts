import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type LocalPostgres, startPostgres } from '@cliscale/local-postgres'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { type PgProxy, startPgProxy } from '../src/pg-proxy.ts'
import { type Created, type System, startSystem } from '../src/system.ts'
import { CollectingViewer } from '../src/viewer.ts'

const SESSIONS = 20
const LINES = 40
const PASSWORD = 'superuser'

let dir: string
let postgres: LocalPostgres
let proxy: PgProxy
let system: System
beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'cs-crash-'))
  const { chmod } = await import('node:fs/promises')
  await chmod(dir, 0o755)
  postgres = await startPostgres({ dataDir: path.join(dir, 'postgres'), password: PASSWORD, disposable: true })
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

/** A program that says in a file of its own that it was started, and prints for about ten seconds. */
const command = (started: string): string =>
  `echo started >> '${started}'; for i in $(seq 1 ${LINES}); do echo "line $i"; sleep 0.25; done`
const EXPECTED = Array.from({ length: LINES }, (_, i) => `line ${i + 1}\r\n`).join('')

interface Run {
  readonly session: Created
  readonly started: string
}

async function startAll(name: string): Promise<Run[]> {
  const runs = Array.from({ length: SESSIONS }, (_, i) => path.join(dir, `${name}-${i}`))
  return Promise.all(runs.map(async (started) => ({ started, session: await createSurely(command(started)) })))
}

/** Asks with an Idempotency-Key until it is answered: a server that is killed in the middle may not start two. */
async function createSurely(text: string): Promise<Created> {
  const key = randomUUID()
  for (let tries = 0; tries < 100; tries++) {
    const answer = await system
      .api('POST', '/api/sessions', { command: text }, { 'idempotency-key': key })
      .catch(() => undefined)
    if (answer?.status === 201) return answer.body as unknown as Created
    await sleep(200)
  }
  throw new Error('no creation was answered within 20 s')
}

async function untilRunning(runs: Run[]): Promise<void> {
  for (const { session } of runs) {
    for (let tries = 0; ; tries++) {
      const { body } = await system.api('GET', `/api/sessions/${session.sessionId}`)
      if (body['status'] === 'running') break
      if (tries > 300) throw new Error(`not running: ${JSON.stringify(body)}`)
      await sleep(100)
    }
  }
}

/** Every session gives a fresh token, and that token a terminal, within the time. */
async function attachAll(runs: Run[], withinMs: number): Promise<void> {
  const deadline = Date.now() + withinMs
  await Promise.all(
    runs.map(async ({ session }) => {
      for (;;) {
        try {
          const fresh = await system.token(session.sessionId)
          await using viewer = new CollectingViewer(system.base, session.sessionId)
          await viewer.start(fresh.sessionJWT)
          while (viewer.have === 0 && Date.now() < deadline) await sleep(50)
          if (viewer.have > 0) return
          throw new Error('no output yet')
        } catch (error) {
          if (Date.now() > deadline) throw error
          await sleep(200)
        }
      }
    }),
  )
}

async function expectAllWhole(runs: Run[]): Promise<void> {
  const result = { succeeded: 0, once: 0, whole: 0 }
  for (const { session, started } of runs) {
    const view = await system.ended(session.sessionId, 90_000)
    if (view.status === 'succeeded') result.succeeded++
    else console.error(view)
    if ((await readFile(started, 'utf8')) === 'started\n') result.once++
    if ((await system.logs(session.sessionId)).toString() === EXPECTED) result.whole++
  }
  expect(result).toEqual({ succeeded: SESSIONS, once: SESSIONS, whole: SESSIONS })
}

test('kill -9 of one database backend: all go on, attachable again within 10 s', async () => {
  const runs = await startAll('backend')
  await untilRunning(runs)
  const { rows } = await sql(
    "select pid from pg_stat_activity where datname = 'cliscale' and backend_type = 'client backend' limit 1",
  )
  process.kill((rows[0] as { pid: number }).pid, 'SIGKILL')
  await attachAll(runs, 10_000)
  await expectAllWhole(runs)
})

test('kill -9 of the server: all go on, attachable again within 10 s', async () => {
  const runs = await startAll('server')
  await untilRunning(runs)
  process.kill(await system.serverPid(), 'SIGKILL')
  await attachAll(runs, 10_000)
  await expectAllWhole(runs)
})

test('kill -9 of the server between the COMMIT of a claim and its answer: each runs once', async () => {
  let killed = 0
  proxy.cutAtCommit(/claim_nonce_hash/, () => {
    killed++
    void system.serverPid().then((pid) => process.kill(pid, 'SIGKILL'))
  })
  const runs = await startAll('claim')
  await expectAllWhole(runs)
  expect(killed).toBe(1)
})
