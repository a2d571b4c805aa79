import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { startTestPostgres, type TestPostgres } from '@cliscale/test-kit'
import pg from 'pg'
import { call } from './host-api-system.ts'
import { expectEventually } from './launch-contract.ts'
import { claimRunning, createReconcileSystem, type ReconcileSystem, TIMINGS } from './reconcile-system.ts'

// These break PostgreSQL, so they have one of their own.
let postgres: TestPostgres
let system: ReconcileSystem
beforeEach(async () => {
  postgres = await startTestPostgres()
  system = await createReconcileSystem({ postgres, timings: { ...TIMINGS, stopLimitMs: 20_000 } })
})
afterEach(async () => {
  await system[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
}, 60_000)

const countEndpoints = async (): Promise<number> =>
  (await system.store.pool.query('select from session_endpoints').catch(() => undefined))?.rowCount ?? -1
async function twenty(): Promise<string[]> {
  const ids: string[] = []
  for (let i = 0; i < 20; i++) ids.push((await claimRunning(system)).id)
  await expectEventually(async () => (await countEndpoints()) === 20)
  return ids
}

test('twenty sessions are attachable again within 10 s of a database backend that is killed', async () => {
  const ids = await twenty()
  const before = await system.local.launcher.list()
  // PostgreSQL then ends all other backends and empties every UNLOGGED table.
  const victim = new pg.Client({ connectionString: postgres.url })
  victim.on('error', () => undefined)
  await victim.connect()
  const { rows } = await victim.query<{ pid: number }>('select pg_backend_pid() as pid')
  const from = Date.now()
  process.kill(rows[0]!.pid, 'SIGKILL')
  await expectEventually(async () => (await countEndpoints()) !== 20)
  await expectEventually(async () => (await countEndpoints()) === 20, 10_000)
  console.log(`20 endpoints were back ${Date.now() - from} ms after the kill`)
  expect(await system.local.launcher.list()).toEqual(before)
  for (const id of ids) expect((await system.store.session(id)).status).toBe('starting')
  await victim.end().catch(() => undefined)
}, 90_000)

test('a database that is stopped loses nothing, ends nothing, and is found again', async () => {
  const { id, claim } = await claimRunning(system)
  const url = `${system.internal.url}/internal/sessions/${id}`
  const control = await call(`${url}/control`, claim.reportCredential, { method: 'GET' })
  const heard = (async () => {
    let text = ''
    for await (const chunk of control.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      if (text.includes('stop')) return text
    }
    return text
  })()
  await postgres.stop()
  for (let i = 0; i < 50; i++) system.reconciler.wake()
  const json = { type: 'running', at: new Date().toISOString() }
  expect((await call(`${url}/events`, claim.reportCredential, { json })).status).toBe(503)
  await sleep(1_000)
  expect(await system.local.launcher.list()).toHaveLength(1)
  await postgres.start()
  await expectEventually(async () => (await call(`${url}/events`, claim.reportCredential, { json })).status === 204)
  const other = await system.store.createSession()
  await expectEventually(async () => (await system.local.launcher.list()).some((entry) => entry.sessionId === other))
  expect((await system.store.session(id)).status).toBe('running')
  // The stream stayed open, and new events still reach it.
  await system.store.pool.query('update sessions set stop_requested_at = now() where id = $1', [id])
  expect(await heard).toContain('stop')
})
