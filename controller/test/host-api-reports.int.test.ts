import { randomBytes, randomUUID } from 'node:crypto'
import net from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { OUTPUT_HEADERS, type SessionEvent } from '@cliscale/contract'
import { call, claimed, createInternalServer, createInternalSystem, type InternalSystem } from './host-api-system.ts'

const CAP = 100_000
let system: InternalSystem
beforeAll(async () => {
  system = await createInternalSystem({ outputMaxBytes: CAP })
})
afterAll(async () => system[Symbol.asyncDispose]())

const sessionUrl = (id: string, part: string): string => `${system.internal.url}/internal/sessions/${id}/${part}`
const ended: SessionEvent = {
  type: 'ended',
  at: new Date().toISOString(),
  status: 'failed',
  reason: 'exit_nonzero',
  detail: 'The command ended with exit code 3.',
  exitCode: 3,
  signal: null,
}

function output(
  id: string,
  credential: string,
  offset: number | string,
  bytes: Uint8Array,
  times?: string,
): Promise<Response> {
  const headers = {
    [OUTPUT_HEADERS.offset]: String(offset),
    [OUTPUT_HEADERS.columns]: '80',
    [OUTPUT_HEADERS.rows]: '24',
    ...(times !== undefined && { [OUTPUT_HEADERS.times]: times }),
  }
  return call(sessionUrl(id, 'output'), credential, { body: bytes, headers })
}
async function next(response: Promise<Response>): Promise<number> {
  const answer = await response
  expect(answer.status).toBe(200)
  return ((await answer.json()) as { next: number }).next
}
async function stored(id: string): Promise<Buffer> {
  const { rows } = await system.store.pool.query<{ data: Buffer }>(
    'select data from session_output where session_id = $1 order by start_offset',
    [id],
  )
  return Buffer.concat(rows.map((row) => row.data))
}

describe('credentials', () => {
  test('are required by every call: none, a wrong one, another session’s and a replaced one are refused', async () => {
    const first = await claimed(system)
    const other = await claimed(system)
    const token = await system.local.tokenOf(first.id)
    const again = await call(`${system.internal.url}/internal/claim`, token, { json: { nonce: 'nonce-of-this-spool' } })
    expect(again.status).toBe(200)
    const wrong = ['', 'x', token, first.claim.reportCredential, other.claim.reportCredential]
    wrong.push(`cs_report_${first.id}_${'A'.repeat(43)}`, `cs_report_${randomUUID()}_${'A'.repeat(43)}`)
    for (const credential of wrong) {
      const calls = [
        call(sessionUrl(first.id, 'events'), credential, { json: ended }),
        output(first.id, credential, 0, Buffer.from('x')),
        call(sessionUrl(first.id, 'control'), credential, { method: 'GET' }),
      ]
      expect((await Promise.all(calls)).map((answer) => answer.status)).toEqual([401, 401, 401])
    }
    expect((await call(`${system.internal.url}/internal/started`, first.claim.reportCredential)).status).toBe(401)
    expect(await system.store.session(first.id)).toMatchObject({ status: 'starting', output_bytes: '0' })
  })

  test('are not needed for the keys, and an unknown path is 404', async () => {
    const paths = [
      '/internal',
      '/internal/claim/',
      '/internal/sessions/x',
      '/internal/sessions/%2e%2e%2fclaim/x',
      '/api/sessions',
    ]
    for (const path of paths) expect((await call(`${system.internal.url}${path}`, 'x')).status).toBe(404)
    expect((await call(sessionUrl('not-a-uuid', 'events'), 'x', { json: ended })).status).toBe(401)
    const keys = await fetch(`${system.internal.url}/internal/jwks.json`)
    expect([keys.status, await keys.json()]).toEqual([200, { keys: [] }])
  })
})

describe('events', () => {
  test('count once each, in order, and nothing follows the end', async () => {
    const { id, claim } = await claimed(system)
    const report = async (event: SessionEvent): Promise<void> => {
      for (let i = 0; i < 2; i++) {
        const answer = await call(sessionUrl(id, 'events'), claim.reportCredential, { json: event })
        expect(answer.status).toBe(204)
      }
    }
    const at = (): string => new Date().toISOString()
    await report({ type: 'stage', name: 'verifying', at: at() })
    await report({ type: 'stage', name: 'fetching_code', at: at() })
    expect(await system.store.session(id)).toMatchObject({ status: 'starting', stage: 'verifying' })
    await report({ type: 'running', at: at() })
    await report({ type: 'stage', name: 'installing', at: at() })
    await report(ended)
    await report({ ...ended, status: 'succeeded', reason: null, exitCode: 0 } as SessionEvent)
    await report({ type: 'running', at: at() })
    const row = await system.store.session(id)
    expect(row).toMatchObject({ status: 'failed', reason: 'exit_nonzero', exit_code: 3, signal: null })
    expect(row.stages.map((entry) => entry.name)).toEqual(['queued', 'verifying', 'running'])
    expect(row.stages.every((entry) => entry.endedAt !== null)).toBe(true)
    expect(row.expires_at.getTime() - Date.now()).toBeGreaterThan(3_500_000)
    expect(row.ended_at >= row.started_at).toBe(true)
  })

  test('of the end delete the work order and the endpoint', async () => {
    const { id, claim } = await claimed(system)
    await system.store.pool.query(
      `insert into session_endpoints values ($1, '127.0.0.1', 1, $2) on conflict do nothing`,
      [id, claim.podUid],
    )
    await call(sessionUrl(id, 'events'), claim.reportCredential, { json: ended })
    expect(await system.store.count('session_orders', id)).toBe(0)
    expect(await system.store.count('session_endpoints', id)).toBe(0)
  })

  test('of the end make one end when ten arrive together', async () => {
    const { id, claim } = await claimed(system)
    const reports = Array.from({ length: 10 }, (_, i) =>
      call(sessionUrl(id, 'events'), claim.reportCredential, { json: { ...ended, exitCode: i + 1 } }),
    )
    expect(new Set((await Promise.all(reports)).map((answer) => answer.status))).toEqual(new Set([204]))
    const { exit_code, updated_at } = await system.store.session(id)
    await call(sessionUrl(id, 'events'), claim.reportCredential, { json: { ...ended, exitCode: 99 } })
    expect(await system.store.session(id)).toMatchObject({ exit_code, updated_at })
  })

  test.each([
    ['invalid JSON', '{', 400],
    ['an unknown type', '{"type":"paused"}', 400],
    ['an unknown stage', `{"type":"stage","name":"dreaming","at":"${new Date().toISOString()}"}`, 400],
    ['an invalid time', '{"type":"running","at":"soon"}', 400],
    ['a detail that is too long', JSON.stringify({ ...ended, detail: 'x'.repeat(2001) }), 400],
    ['a body that is too large', `"${'x'.repeat(70_000)}"`, 413],
  ])('with %s are refused and change nothing', async (_, body, status) => {
    const { id, claim } = await claimed(system)
    const answer = await call(sessionUrl(id, 'events'), claim.reportCredential, { body: Buffer.from(body) })
    expect(answer.status).toBe(status)
    expect((await system.store.session(id)).status).toBe('starting')
  })
})

describe('output', () => {
  test('that arrives twice, overlaps or races is stored once', async () => {
    const { id, claim } = await claimed(system)
    const all = randomBytes(60_000)
    const send = (from: number, to: number): Promise<number> =>
      next(output(id, claim.reportCredential, from, all.subarray(from, to)))
    expect(await send(0, 10_000)).toBe(10_000)
    expect(await send(0, 10_000)).toBe(10_000)
    expect(await send(5_000, 15_000)).toBe(15_000)
    expect(await send(2_000, 3_000)).toBe(15_000)
    await Promise.all(Array.from({ length: 8 }, () => send(15_000, 40_000)))
    expect(await send(40_000, 60_000)).toBe(60_000)
    expect(await send(60_000, 60_000)).toBe(60_000)
    expect((await stored(id)).equals(all)).toBe(true)
    expect((await system.store.session(id))['output_bytes']).toBe('60000')
  })

  test('after a gap changes nothing, and the answer says which offset is wanted', async () => {
    const { id, claim } = await claimed(system)
    expect(await next(output(id, claim.reportCredential, 0, Buffer.from('abc')))).toBe(3)
    expect(await next(output(id, claim.reportCredential, 4, Buffer.from('e')))).toBe(3)
    expect((await stored(id)).toString()).toBe('abc')
  })

  test('beyond the cap is acknowledged, and one line says that it is not stored', async () => {
    const { id, claim } = await claimed(system)
    const all = randomBytes(CAP + 50_000)
    for (let at = 0; at < all.length;) {
      at = await next(output(id, claim.reportCredential, at, all.subarray(at, at + 30_001)))
    }
    expect((await system.store.session(id))['output_bytes']).toBe(String(all.length))
    const kept = await stored(id)
    expect(kept.subarray(0, CAP).equals(all.subarray(0, CAP))).toBe(true)
    expect(
      kept
        .subarray(CAP)
        .toString()
        .match(/the log is full/g),
    ).toHaveLength(1)
  })

  test('that ends at the cap has no such line', async () => {
    const { id, claim } = await claimed(system)
    const all = randomBytes(CAP)
    for (let at = 0; at < CAP;) at = await next(output(id, claim.reportCredential, at, all.subarray(at, at + 50_000)))
    expect((await stored(id)).equals(all)).toBe(true)
  })

  test('keeps its times with their bytes, also of a part, and makes none up', async () => {
    const { id, claim } = await claimed(system)
    const send = (from: number, to: number, times?: string): Promise<number> =>
      next(output(id, claim.reportCredential, from, Buffer.alloc(to - from, 'x'), times))
    const sent: [from: number, to: number, times?: string][] = [
      [0, 10, '0:1000,4:1500'],
      [5, 20, '0:1500,4:1600,5:1600,9:1900'],
      [18, 30, '0:1900'],
      [30, 40],
      [40, 50, 'yesterday'],
      [50, 60, '0:2000,3:1000'],
      [60, 70, '0:2000,10:3000'],
    ]
    for (const [from, to, times] of sent) expect(await send(from, to, times)).toBe(to)
    for (let at = 70; at < CAP - 5;) at = await send(at, Math.min(at + 60_000, CAP - 5), '0:4000')
    await send(CAP - 5, CAP + 5, '0:4000,4:4500,6:5000')
    const { rows } = await system.store.pool.query(
      'select start_offset::int as from, times from session_output where session_id = $1 order by 1',
      [id],
    )
    const timesAt = (from: number): unknown => rows.find((row: { from: number }) => row.from === from).times
    expect([0, 10, 20, 30, 40, 50, 60, CAP - 5, CAP].map(timesAt)).toEqual([
      [
        [0, 1000],
        [4, 1500],
      ],
      [
        [0, 1600],
        [4, 1900],
      ],
      [[0, 1900]],
      null,
      null,
      null,
      null,
      [
        [0, 4000],
        [4, 4500],
      ],
      null,
    ])
  })

  test('that arrives after the end is stored', async () => {
    const { id, claim } = await claimed(system)
    await call(sessionUrl(id, 'events'), claim.reportCredential, { json: ended })
    expect(await next(output(id, claim.reportCredential, 0, Buffer.from('last words')))).toBe(10)
    expect((await stored(id)).toString()).toBe('last words')
  })

  test('with an invalid offset or a body that is too large is refused', async () => {
    const { id, claim } = await claimed(system)
    for (const offset of ['', '-1', '1.5', 'abc', '1e3', '9999999999999999']) {
      expect((await output(id, claim.reportCredential, offset, Buffer.from('x'))).status).toBe(400)
    }
    expect((await output(id, claim.reportCredential, 0, randomBytes(64 * 1024 + 1))).status).toBe(413)
    expect(await next(output(id, claim.reportCredential, 0, randomBytes(64 * 1024)))).toBe(64 * 1024)
  })

  test('with a body that is too large and does not announce it gets an answer', async () => {
    const { id, claim } = await claimed(system)
    const body = new ReadableStream<Uint8Array>({ pull: (stream) => stream.enqueue(Buffer.alloc(40_000)) })
    const headers = { authorization: `Bearer ${claim.reportCredential}`, [OUTPUT_HEADERS.offset]: '0' }
    const answer = await fetch(sessionUrl(id, 'output'), {
      method: 'POST',
      body,
      headers,
      duplex: 'half',
    } as RequestInit)
    expect(answer.status).toBe(413)
    expect(await next(output(id, claim.reportCredential, 0, Buffer.alloc(0)))).toBe(0)
  })

  test('whose body breaks off is not stored', async () => {
    const { id, claim } = await claimed(system)
    const { port, hostname } = new URL(system.internal.url)
    const socket = net.connect(Number(port), hostname)
    socket.write(
      `POST /internal/sessions/${id}/output HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${claim.reportCredential}\r\n` +
        `${OUTPUT_HEADERS.offset}: 0\r\ncontent-length: 100\r\n\r\nhalf`,
    )
    await new Promise((resolve) => setTimeout(resolve, 100))
    socket.destroy()
    expect(await next(output(id, claim.reportCredential, 0, Buffer.alloc(0)))).toBe(0)
  })
})

test('is answered with 503, to be tried again, while the database is unavailable', async () => {
  const { id, claim } = await claimed(system)
  const { default: pg } = await import('pg')
  const away = new pg.Pool({ host: '127.0.0.1', port: 1, connectionTimeoutMillis: 500 })
  await using server = await createInternalServer(system.store, system.local.launcher, { pool: away })
  const answer = await call(`${server.url}/internal/sessions/${id}/events`, claim.reportCredential, { json: ended })
  expect(answer.status).toBe(503)
  expect(await answer.json()).toMatchObject({ code: 'store_unavailable' })
  expect(answer.headers.get('retry-after')).toBe('5')
  await away.end()
})
