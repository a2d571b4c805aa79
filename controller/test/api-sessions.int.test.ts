import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ATTACH_ASSERTION, CreateSessionResponse, SESSION_TOKEN, SessionView } from '@cliscale/contract'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { type Api, KEY_B, startApi } from './api-system.ts'

let api: Api
beforeAll(async () => {
  api = await startApi()
})
afterAll(async () => {
  await api[Symbol.asyncDispose]()
})

describe('creating a session', () => {
  test('answers 201 at once with links and a token that our published keys verify', async () => {
    const { status, json, headers } = await api.create({ command: 'echo hi', prompt: 'x', env: { A: 'b' } })
    expect(status).toBe(201)
    expect(CreateSessionResponse.parse(json)).toEqual(json)
    expect(json.status).toBe('queued')
    expect(headers.get('location')).toBe(`/api/sessions/${json.sessionId}`)
    expect(json.terminalUrl).toBe(`${api.url}/ws/${json.sessionId}?token=${json.sessionJWT}`)
    expect(json.wsUrl).toBe(json.terminalUrl.replace('http://', 'ws://'))
    const keys = createRemoteJWKSet(new URL(`${api.url}/.well-known/jwks.json`))
    const { payload, protectedHeader } = await jwtVerify(json.sessionJWT, keys, {
      issuer: 'cliscale',
      audience: SESSION_TOKEN.audience,
      typ: SESSION_TOKEN.type,
      algorithms: ['RS256'],
    })
    expect(protectedHeader.kid).toMatch(/^[\w-]{43}$/)
    expect(payload).toMatchObject({ sub: expect.stringMatching(/^key-/), sid: json.sessionId, mode: 'rw' })
    expect(payload.exp! - payload.iat!).toBe(300)
    expect(new Date(payload.exp! * 1000).toISOString()).toBe(json.tokenExpiresAt)
  })

  test('stores the session, its sealed work order, and the token with an assertion for the host', async () => {
    const { json } = await api.create({ command: 'echo canary-cmd', env: { SECRET: 'canary-env' } })
    const { rows } = await api.pool.query(
      `select s.status, s.stages, o.ciphertext, t.assertion, t.jti, t.viewer_id, t.mode, t.expires_at
       from sessions s join session_orders o on o.session_id = s.id join token_jti t on t.session_id = s.id
       where s.id = $1`,
      [json.sessionId],
    )
    expect(rows).toHaveLength(1)
    const [row] = rows
    expect(row.stages).toEqual([{ name: 'queued', startedAt: expect.any(String), endedAt: null }])
    expect(row.ciphertext.includes('canary')).toBe(false)
    expect(row.expires_at.toISOString()).toBe(json.tokenExpiresAt)
    const assertion = await jwtVerify(row.assertion, api.controller.keys, {
      audience: ATTACH_ASSERTION.audience,
      typ: ATTACH_ASSERTION.type,
    })
    expect(assertion.payload).toEqual({
      iss: 'cliscale',
      aud: ATTACH_ASSERTION.audience,
      sid: json.sessionId,
      mode: 'rw',
      viewer: row.viewer_id,
      iat: expect.any(Number),
    })
  })

  test('keeps the query of a signed code_url out of the table and the log', async () => {
    const code_url = 'https://example.com/code.zip?X-Signature=canary-query'
    const { json } = await api.create({ command: 'true', code_url })
    const { rows } = await api.pool.query('select * from sessions where id = $1', [json.sessionId])
    expect(rows[0].code_url).toBe('https://example.com/code.zip')
    const refused = await api.create({ command: 'true', code_url: `${code_url}#canary-hash` })
    expect(refused.status).toBe(400)
    expect(JSON.stringify(refused.json)).not.toContain('canary')
    expect(JSON.stringify(rows) + api.log.join('')).not.toContain('canary')
  })

  test('takes scheme and host of links from the request or from CLISCALE_PUBLIC_URL', async () => {
    await using fixed = await startApi({ settings: { publicUrl: 'https://cliscale.example/tools' } })
    const { json } = await fixed.create()
    expect(json.wsUrl).toMatch(/^wss:\/\/cliscale\.example\/tools\/ws\//)
    const untrusted = await api.create(undefined, { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'evil.example' })
    expect(untrusted.json.terminalUrl).toMatch(new RegExp(`^${api.url}/ws/`))
    await using proxied = await startApi({ settings: { trustedProxyHops: 1 } })
    const secure = await proxied.create(undefined, { 'X-Forwarded-Proto': 'https' })
    expect(secure.json.wsUrl).toMatch(/^wss:\/\/127\.0\.0\.1/)
  })
})

describe('a session', () => {
  test('is shown to its owner', async () => {
    const { json } = await api.create()
    const shown = await api.call('GET', `/api/sessions/${json.sessionId}`)
    expect(shown.status).toBe(200)
    expect(SessionView.parse(shown.json)).toEqual(shown.json)
    expect(shown.json).toMatchObject({ sessionId: json.sessionId, status: 'queued', reason: null, endedAt: null })
  })

  test('looks to anybody else exactly as if it did not exist, in every call', async () => {
    const { json } = await api.create()
    const other = { Authorization: `Bearer ${KEY_B}`, 'X-Request-Id': 'same' }
    const unknown = '0d9cbd9f-6e2e-4b7e-9a53-0b2ad6b5d7f3'
    for (const [method, path] of [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/token'],
      ['GET', '/logs'],
    ] as const) {
      const foreign = await api.call(method, `/api/sessions/${json.sessionId}${path}`, undefined, other)
      const none = await api.call(method, `/api/sessions/${unknown}${path}`, undefined, other)
      expect([foreign.status, foreign.text]).toEqual([404, none.text])
      expect(foreign.json.code).toBe('session_not_found')
    }
    const list = await api.call('GET', '/api/sessions', undefined, other)
    expect(list.text).not.toContain(json.sessionId)
    const { rows } = await api.pool.query('select stop_requested_at from sessions where id = $1', [json.sessionId])
    expect(rows[0].stop_requested_at).toBeNull()
  })

  test('is stopped once, however often DELETE is called', async () => {
    const { json } = await api.create()
    const stopAt = async () =>
      (await api.pool.query('select stop_requested_at as at from sessions where id = $1', [json.sessionId])).rows[0].at
    const first = await api.call('DELETE', `/api/sessions/${json.sessionId}`)
    const at = await stopAt()
    const second = await api.call('DELETE', `/api/sessions/${json.sessionId}`)
    expect([first.status, second.status]).toEqual([202, 202])
    expect(first.json.sessionId).toBe(json.sessionId)
    expect(at).toBeInstanceOf(Date)
    const { json: shown } = await api.call('GET', `/api/sessions/${json.sessionId}`)
    expect(shown).toMatchObject({
      status: 'queued',
      reason: null,
      detail: expect.stringContaining('stop was requested'),
    })
    expect(first.json).toEqual(shown)
    expect(await stopAt()).toEqual(at)
  })

  test('that has ended says why, and neither a stop nor a token changes that', async () => {
    const { json } = await api.create()
    await api.pool.query(
      "update sessions set status = 'failed', reason = 'exit_nonzero', exit_code = 3, ended_at = now() where id = $1",
      [json.sessionId],
    )
    const stopped = await api.call('DELETE', `/api/sessions/${json.sessionId}`)
    expect(stopped.status).toBe(202)
    expect(stopped.json).toMatchObject({
      status: 'failed',
      reason: 'exit_nonzero',
      detail: 'The command ended with an exit code other than 0.',
      retryable: false,
      exitCode: 3,
    })
    const token = await api.call('POST', `/api/sessions/${json.sessionId}/token`)
    expect(token.status).toBe(201)
    const { rows } = await api.pool.query('select status, stop_requested_at from sessions where id = $1', [
      json.sessionId,
    ])
    expect(rows).toEqual([{ status: 'failed', stop_requested_at: null }])
  })

  test('gives fresh tokens, read-only ones on request', async () => {
    const { json } = await api.create()
    const path = `/api/sessions/${json.sessionId}/token`
    const [rw, ro] = [await api.call('POST', path), await api.call('POST', path, { mode: 'ro' })]
    expect(Object.keys(ro.json).sort()).toEqual(['sessionJWT', 'terminalUrl', 'tokenExpiresAt', 'wsUrl'])
    const modes = await Promise.all(
      [rw, ro].map(async (t) => (await jwtVerify(t.json.sessionJWT, api.controller.keys)).payload),
    )
    expect(modes.map((payload) => payload['mode'])).toEqual(['rw', 'ro'])
    const { rows } = await api.pool.query('select mode from token_jti where session_id = $1 order by 1', [
      json.sessionId,
    ])
    expect(rows.map((row: { mode: string }) => row.mode)).toEqual(['ro', 'rw', 'rw'])
    const bad = await api.call('POST', path, { mode: 'admin', more: 1 })
    expect([bad.status, bad.json.code, bad.json.errors.length]).toEqual([400, 'unknown_field', 2])
    expect(bad.json.errors).toContainEqual({ path: 'mode', message: 'must be one of "rw", "ro"' })
  })
})

describe('the list of sessions', () => {
  test('pages through all of them once, newest first, also through those of the same moment', async () => {
    await using own = await startApi()
    const owner = (await own.pool.query('select 1')) && (await own.create()).json.sessionId
    await own.pool.query(
      `insert into sessions (id, owner, timeout_seconds, created_at)
       select gen_random_uuid(), owner, 60, created_at - (n / 3) * interval '1 microsecond'
       from sessions, generate_series(1, 24) n where id = $1`,
      [owner],
    )
    const seen: string[] = []
    let cursor = ''
    for (let pages = 0; pages < 10; pages += 1) {
      const { json, status } = await own.call('GET', `/api/sessions?limit=7${cursor && `&cursor=${cursor}`}`)
      expect(status).toBe(200)
      seen.push(...json.sessions.map((session: { sessionId: string }) => session.sessionId))
      if (json.nextCursor === null) break
      cursor = json.nextCursor
    }
    const { rows } = await own.pool.query('select id from sessions order by created_at desc, id desc')
    expect(seen).toEqual(rows.map((row: { id: string }) => row.id))
  })

  test.each([
    'limit=0',
    'limit=101',
    'limit=x',
    'limit=1&limit=2',
    'cursor=abc',
    `cursor=${'a'.repeat(201)}`,
    'page=2',
  ])('refuses ?%s', async (query) => {
    const { status, json } = await api.call('GET', `/api/sessions?${query}`)
    expect(status).toBe(400)
    expect(['invalid_field', 'unknown_field']).toContain(json.code)
    expect(json.errors[0]?.path).toBe(query.split('=', 1)[0])
  })
})

describe('the log', () => {
  test('returns the exact bytes in order, over more than one page', async () => {
    const { json } = await api.create()
    const chunks = Array.from({ length: 40 }, (_, i) => Buffer.alloc(5_000 + i, `${i} \u{1f600}\u001b[3${i % 8}m`))
    chunks[7] = Buffer.from([0xff, 0x00, 0xfe, 0x0a])
    let offset = 0
    for (const data of chunks) {
      await api.pool.query(
        'insert into session_output (session_id, start_offset, data, columns, rows) values ($1, $2, $3, 120, 40)',
        [json.sessionId, offset, data],
      )
      offset += data.length
    }
    const response = await fetch(`${api.url}/api/sessions/${json.sessionId}/logs`, {
      headers: { Authorization: `Bearer cs_key_owner-a-0123456789` },
    })
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.concat(chunks))).toBe(true)
  })

  test('is empty before there is any output', async () => {
    const { json } = await api.create()
    const log = await api.call('GET', `/api/sessions/${json.sessionId}/logs`)
    expect([log.status, log.text]).toEqual([200, ''])
  })

  test('waits for a slow reader without filling memory or keeping a connection', async () => {
    const { json } = await api.create()
    await api.pool.query(
      `insert into session_output (session_id, start_offset, data, columns, rows)
       select $1, n * 65536, decode(repeat('61', 65536), 'hex'), 120, 40 from generate_series(0, 639) n`,
      [json.sessionId],
    )
    const response = await fetch(`${api.url}/api/sessions/${json.sessionId}/logs`, {
      headers: { Authorization: `Bearer cs_key_owner-a-0123456789` },
    })
    // What fits into the buffers on the way is sent; then it waits, and returns its connection.
    for (let i = 0; i < 100 && api.pool.idleCount < api.pool.totalCount; i += 1) await sleep(50)
    await sleep(100)
    expect(api.pool.idleCount).toBe(api.pool.totalCount)
    expect((await response.arrayBuffer()).byteLength).toBe(640 * 65536)
  })
})

describe('without an API key', () => {
  test('probes, keys and the API description are served', async () => {
    for (const path of ['/healthz', '/readyz', '/.well-known/jwks.json', '/openapi.json']) {
      const response = await fetch(api.url + path)
      expect([path, response.status]).toEqual([path, 200])
    }
  })
})
