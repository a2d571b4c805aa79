import { expect, test } from '@jest/globals'
import { readApiKeys } from '../src/identity/api-keys.ts'
import { adoptSessions } from '../src/identity/owner-store.ts'
import { type Api, KEY_A, KEY_B, startApi } from './api-system.ts'
import { createMigratedDatabase } from './database.ts'

const NEW_KEY = 'cs_key_in-place-of-a-0123456789'
const keysOf = (text: string) =>
  readApiKeys(text, (message) => {
    throw new Error(message)
  })
const as = (key: string) => ({ Authorization: `Bearer ${key}` })

async function listed(api: Api, key: string): Promise<string[]> {
  const { status, json } = await api.call('GET', '/api/sessions', undefined, as(key))
  expect(status).toBe(200)
  return json.sessions.map((session) => session.sessionId)
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20))
}

test('a key that is replaced under a name leaves its sessions to the new one, and nobody else sees them', async () => {
  await using database = await createMigratedDatabase()
  const dataKey = Buffer.alloc(32, 1)
  const idempotent = { 'Idempotency-Key': 'k' }
  const start = (keys: string): Promise<Api> => startApi({ database, settings: { apiKeys: keysOf(keys), dataKey } })
  let ids: string[]
  {
    await using before = await start(`${KEY_A},${KEY_B}`)
    const first = (await before.create(undefined, idempotent)).json.sessionId
    ids = [(await before.create()).json.sessionId, first]
  }
  {
    await using both = await start(`main:${KEY_A},main:${NEW_KEY},${KEY_B}`)
    both.controller.start()
    await until(async () => (await listed(both, KEY_A)).length === 2)
    for (const key of [KEY_A, NEW_KEY, `main:${NEW_KEY}`]) expect(await listed(both, key)).toEqual(ids)
    expect(await listed(both, KEY_B)).toEqual([])
  }
  await using after = await start(`main:${NEW_KEY},${KEY_B}`)
  expect(await listed(after, NEW_KEY)).toEqual(ids)
  expect((await after.call('GET', '/api/sessions', undefined, as(KEY_A))).status).toBe(401)
  const replay = await after.create(undefined, { ...idempotent, ...as(NEW_KEY) })
  expect([replay.headers.get('idempotent-replayed'), replay.json.sessionId]).toEqual(['true', ids[1]])
  for (const id of ids) {
    const path = `/api/sessions/${id}`
    expect((await after.call('GET', path, undefined, as(KEY_B))).status).toBe(404)
    expect((await after.call('DELETE', path, undefined, as(NEW_KEY))).status).toBe(202)
  }
})

test('what a replica that does not know the name writes later moves as well, also where an Idempotency-Key meets its like', async () => {
  await using api = await startApi()
  const keys = keysOf(`main:${KEY_A},main:${KEY_B}`)
  for (const key of [KEY_A, KEY_B]) {
    await api.create(undefined, { ...as(key), 'Idempotency-Key': 'same' })
    await api.create(undefined, { ...as(key), 'Idempotency-Key': key })
  }
  expect(await adoptSessions(api.pool, keysOf(`${KEY_A},${KEY_B}`))).toBe(0)
  expect(await adoptSessions(api.pool, keys)).toBe(4)
  await api.create(undefined, { 'Idempotency-Key': 'same' })
  expect(await adoptSessions(api.pool, keys)).toBe(1)
  expect(await adoptSessions(api.pool, keys)).toBe(0)
  const { rows } = await api.pool.query('select owner, key from idempotency_keys order by key')
  expect(rows).toEqual([KEY_A, KEY_B, 'same'].map((key) => ({ owner: 'service-main', key })))
  const owners = await api.pool.query('select owner, count(*)::int as sessions from sessions group by owner')
  expect(owners.rows).toEqual([{ owner: 'service-main', sessions: 5 }])
})
