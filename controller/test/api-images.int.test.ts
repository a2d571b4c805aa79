import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type Api, startApi } from './api-system.ts'

let api: Api
beforeAll(async () => {
  api = await startApi({ settings: { images: { node20: 'runner', shell: 'ttyd' } } })
})
afterAll(async () => api[Symbol.asyncDispose]())

const rowOf = async (id: string) =>
  (await api.pool.query<Record<string, unknown>>('select * from sessions where id = $1', [id])).rows[0]
const orders = async (id: string) =>
  (await api.pool.query('select from session_orders where session_id = $1', [id])).rowCount

test('an image that is not allowed is refused with the list of allowed images', async () => {
  const answer = await api.create({ command: 'true', image: 'canary' })
  expect([answer.status, answer.json.code]).toEqual([400, 'invalid_field'])
  expect(answer.json.detail).toBe('image must be one of "node20", "shell", or left out.')
  await using without = await startApi()
  const none = await without.create({ command: 'true', image: 'node20' })
  expect([none.status, none.json.errors]).toEqual([
    400,
    [{ path: 'image', message: 'cannot be chosen: this server allows only its own image; leave it out' }],
  ])
})

test('a session keeps its image; one with a terminal of its own has no work order', async () => {
  const runner = await api.create({ command: 'true', image: 'node20' })
  expect(runner.status).toBe(201)
  expect(await rowOf(runner.json.sessionId)).toMatchObject({ kind: 'runner', image: 'node20' })
  expect(await orders(runner.json.sessionId)).toBe(1)
  const own = await api.create({ image: 'shell', timeout_seconds: 30 })
  expect([own.status, own.json.status]).toEqual([201, 'queued'])
  expect(await rowOf(own.json.sessionId)).toMatchObject({ kind: 'ttyd', image: 'shell', timeout_seconds: 30 })
  expect(await orders(own.json.sessionId)).toBe(0)
  const plain = await api.create({ command: 'true' })
  expect(await rowOf(plain.json.sessionId)).toMatchObject({ kind: 'runner', image: null })
})

test('a session with a terminal of its own gives no read-only tokens', async () => {
  const { json } = await api.create({ image: 'shell' })
  const token = (mode?: string) => api.call('POST', `/api/sessions/${json.sessionId}/token`, mode && { mode })
  const refused = await token('ro')
  expect([refused.status, refused.json.code, refused.json.errors]).toEqual([
    400,
    'invalid_field',
    [{ path: 'mode', message: expect.stringContaining('everybody may type') }],
  ])
  expect((await token('rw')).status).toBe(201)
  expect((await token()).status).toBe(201)
})

test('an Idempotency-Key stands for the image too', async () => {
  const headers = { 'Idempotency-Key': 'image-1' }
  const first = await api.create({ command: 'true', image: 'node20' }, headers)
  const again = await api.create({ image: 'node20', command: 'true' }, headers)
  expect([again.status, again.json.sessionId]).toEqual([201, first.json.sessionId])
  expect((await api.create({ command: 'true' }, headers)).status).toBe(422)
})

test('an open session says what it waits for, and an ended one why it ended', async () => {
  const { json } = await api.create()
  const get = async () => (await api.call('GET', `/api/sessions/${json.sessionId}`)).json
  const set = (columns: string) => api.pool.query(`update sessions set ${columns} where id = $1`, [json.sessionId])
  expect(await get()).toMatchObject({ reason: null, detail: null, retryable: null })
  await set(`wait_reason = 'unschedulable', wait_detail = 'No node has room: 0/3.'`)
  expect(await get()).toMatchObject({ reason: 'unschedulable', detail: 'No node has room: 0/3.', retryable: null })
  const list = await api.call('GET', '/api/sessions?limit=1')
  expect(list.json.sessions[0]).toMatchObject({ reason: 'unschedulable' })
  const stopped = await api.call('DELETE', `/api/sessions/${json.sessionId}`)
  expect([stopped.status, (stopped.json as { reason?: string }).reason]).toEqual([202, 'unschedulable'])
  await set(`status = 'failed', reason = 'oom_killed', detail = null, ended_at = now()`)
  expect(await get()).toMatchObject({
    reason: 'oom_killed',
    detail: expect.stringContaining('memory'),
    retryable: false,
  })
})
