import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createHash, randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { TestDatabase } from '@cliscale/test-kit'
import { PAGE_CSP } from '../src/http/security-headers.ts'
import { createDatabase, createKeys, type Keys, LANDING, PAGE, rawRequest, Rig, SCRIPT } from './support.ts'

let database: TestDatabase
let keys: Keys
let rig: Rig

beforeAll(async () => {
  database = await createDatabase()
  keys = await createKeys()
  rig = await Rig.start(database, keys)
})
afterAll(async () => {
  await rig[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

interface Problem {
  status: number
  code: string
  detail: string
}
async function problemOf(response: Response): Promise<Problem> {
  expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  const problem = (await response.json()) as Problem
  expect(problem.status).toBe(response.status)
  return problem
}

describe('the page', () => {
  test('is the same bytes for every session, query and header, and contains none of them', async () => {
    const answers = await Promise.all(
      [
        `/ws/${randomUUID()}`,
        `/ws/${randomUUID()}?token=';alert(1)//`,
        `/ws/${randomUUID()}?token=%3C/script%3E%3Cscript%3Ealert(1)%3C/script%3E&x=%00`,
      ].map(async (path) => {
        const response = await fetch(rig.origin + path, { headers: { origin: 'https://evil.test' } })
        const { date: _date, ...headers } = Object.fromEntries(response.headers)
        delete headers['x-request-id']
        return { status: response.status, headers, body: await response.text() }
      }),
    )
    expect(answers[0]).toMatchObject({ status: 200, body: PAGE })
    expect(answers[1]).toEqual(answers[0])
    expect(answers[2]).toEqual(answers[0])
    expect(answers[0]?.headers).toMatchObject({
      'content-security-policy': PAGE_CSP,
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-cache',
      'content-type': 'text/html; charset=utf-8',
    })
  })

  test('may be framed by nobody, or only by the origins in the setting', async () => {
    const alone = await fetch(`${rig.origin}/ws/${randomUUID()}`)
    expect(alone.headers.get('x-frame-options')).toBe('DENY')
    await using framed = await Rig.start(database, keys, { frameAncestors: ['https://portal.example.com'] })
    const { headers } = await fetch(`${framed.origin}/ws/${randomUUID()}`)
    expect(headers.get('content-security-policy')).toContain('; frame-ancestors https://portal.example.com; ')
    expect(headers.get('x-frame-options')).toBeNull()
  })

  test('runs only scripts from its own files', () => {
    expect(PAGE_CSP).toContain("default-src 'none'; script-src 'self';")
    for (const rule of ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'"])
      expect(PAGE_CSP).toContain(rule)
  })

  test.each([
    ['/ws'],
    ['/ws/'],
    ['/ws/x'],
    [`/ws/${randomUUID()}/`],
    [`/ws/${randomUUID()}/x`],
    [`/ws/${randomUUID().toUpperCase()}`],
    [`/ws/${'-'.repeat(36)}`],
    ['/ws/%2e%2e%2fetc%2fpasswd'],
    ['/ws/assets'],
    ['/ws/assets/'],
    ['/ws/assets/%2e%2e/terminal.html'],
    ['/ws/assets/..%2fterminal.html'],
    ['/ws/assets/none.js'],
    ['/ws/assets/terminal-4f9a8c2b.js.br'],
    ['/ws/assets/terminal-4f9a8c2b.js.gz'],
    ['/api/sessions'],
  ])('is not served at %s: 404', async (path) => {
    const answer = await rawRequest(rig.port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    expect(answer.status).toBe(404)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'not_found' })
  })

  test('can be read, and not written', async () => {
    const response = await fetch(`${rig.origin}/ws/${randomUUID()}`, { method: 'DELETE' })
    expect((await problemOf(response)).code).toBe('method_not_allowed')
    expect(response.headers.get('allow')).toBe('GET, HEAD')
  })

  test('is not the answer to a WebSocket that lost its Upgrade header', async () => {
    const path = `/ws/${randomUUID()}`
    const head = `GET ${path} HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n\r\n`
    const answer = await rawRequest(rig.port, head)
    expect(answer.status).toBe(426)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'upgrade_required' })
  })

  test('has assets that are cached for ever when their name has a hash', async () => {
    const script = await fetch(`${rig.origin}/ws/assets/terminal-4f9a8c2b.js`)
    expect(script.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect(script.headers.get('content-type')).toMatch(/^text\/javascript/)
    const icon = await fetch(`${rig.origin}/ws/assets/favicon.svg`)
    expect(icon.headers.get('cache-control')).toBe('no-cache')
    await Promise.all([script.text(), icon.text()])
  })

  test('reloads when its script comes from another build', async () => {
    const script = await fetch(`${rig.origin}/ws/assets/terminal-00000000.js`)
    expect(script.headers.get('cache-control')).toBe('no-store')
    expect(script.headers.get('content-type')).toMatch(/^text\/javascript/)
    expect(await script.text()).toContain('location.reload()')
  })
})

describe('compression', () => {
  const SCRIPT_PATH = '/ws/assets/terminal-4f9a8c2b.js'
  /** `fetch` chooses encodings and decompresses by itself. */
  const ask = async (path: string, accepts: string | undefined, rest: { method?: string; more?: string } = {}) => {
    const line = accepts === undefined ? '' : `Accept-Encoding: ${accepts}\r\n`
    const head = `${rest.method ?? 'GET'} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n`
    const socket = connect(rig.port, '127.0.0.1')
    socket.write(`${head}${line}${rest.more ?? ''}\r\n`)
    const answer = Buffer.concat(await socket.toArray())
    const at = answer.indexOf('\r\n\r\n')
    const [status = '', ...lines] = answer.subarray(0, at).toString().split('\r\n')
    const headers = Object.fromEntries(
      lines.map((each) => [each.split(': ', 1)[0]!.toLowerCase(), each.replace(/^.*?: /, '')]),
    )
    return { status: Number(status.split(' ')[1]), headers, body: answer.subarray(at + 4) }
  }
  const unpacked = ({ headers, body }: Awaited<ReturnType<typeof ask>>): string => {
    const coding = headers['content-encoding']
    return String(coding === 'br' ? brotliDecompressSync(body) : coding === 'gzip' ? gunzipSync(body) : body)
  }

  test.each([
    ['gzip, deflate, br, zstd', 'br'],
    ['br;q=0.1, gzip', 'br'],
    ['gzip, deflate', 'gzip'],
    ['GZIP', 'gzip'],
    ['br;q=0, gzip;q=0.5', 'gzip'],
    ['*', 'br'],
    ['identity', undefined],
    ['identity;q=0', undefined],
    ['br;q=0, gzip;q=0, *;q=0', undefined],
    ['brotli, x-snappy', undefined],
    [';;;,,', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('Accept-Encoding %j gets %s', async (accepts, coding) => {
    for (const [path, text, type] of [
      [SCRIPT_PATH, SCRIPT, 'text/javascript; charset=utf-8'],
      [`/ws/${randomUUID()}`, PAGE, 'text/html; charset=utf-8'],
      ['/', LANDING, 'text/html; charset=utf-8'],
    ] as const) {
      const answer = await ask(path, accepts)
      expect(answer.headers['content-encoding']).toBe(coding)
      expect(answer.headers['vary']).toContain('Accept-Encoding')
      expect([answer.status, unpacked(answer), answer.headers['content-type']]).toEqual([200, text, type])
      const head = await ask(path, accepts, { method: 'HEAD' })
      expect([head.status, head.body.length]).toEqual([200, 0])
      expect(head.headers).toMatchObject({
        'content-length': String(answer.body.length),
        etag: answer.headers['etag'],
        ...(coding !== undefined && { 'content-encoding': coding }),
      })
    }
  })

  test('gives each encoding an ETag of its own, and answers 304 to that one alone', async () => {
    const tags = await Promise.all(
      ['br', 'gzip', 'identity'].map(async (c) => (await ask(SCRIPT_PATH, c)).headers['etag']),
    )
    expect(new Set(tags).size).toBe(3)
    const more = `If-None-Match: ${tags[0]}\r\n`
    const [same, other] = [await ask(SCRIPT_PATH, 'br', { more }), await ask(SCRIPT_PATH, 'gzip', { more })]
    expect([same.status, same.headers['vary'], other.status]).toEqual([304, 'Accept-Encoding', 200])
  })

  test('serves the whole file when a part is requested', async () => {
    const answer = await ask(SCRIPT_PATH, 'br', { more: 'Range: bytes=0-2\r\n' })
    expect([answer.status, unpacked(answer), answer.headers['accept-ranges']]).toEqual([200, SCRIPT, undefined])
  })
})

describe('the landing page', () => {
  test.each([['text/html,application/xhtml+xml,*/*;q=0.8'], ['*/*'], [undefined]])(
    'is served for Accept %s',
    async (accept) => {
      const response = await fetch(`${rig.origin}/?x=1`, { headers: accept === undefined ? {} : { accept } })
      expect([response.status, await response.text()]).toEqual([200, LANDING])
      expect(response.headers.get('content-security-policy')).toBe(PAGE_CSP)
      expect(response.headers.get('cache-control')).toBe('no-cache')
    },
  )

  test('is not served to a program that asks for JSON, nor at another path', async () => {
    const headers = { accept: 'application/json' }
    expect(await problemOf(await fetch(`${rig.origin}/`, { headers }))).toMatchObject({ code: 'not_found' })
    expect(await problemOf(await fetch(`${rig.origin}/landing.html`))).toMatchObject({ code: 'not_found' })
    expect((await problemOf(await fetch(`${rig.origin}/`, { method: 'POST' }))).code).toBe('method_not_allowed')
  })
})

describe('a link', () => {
  test('is exchanged once for a cookie of this session, of which the database keeps only the hash', async () => {
    const sid = await rig.seed()
    const token = await rig.token(sid, { mode: 'ro' })
    const response = await rig.redeem(sid, token, { origin: rig.origin })
    expect(response.status).toBe(200)
    expect(response.headers.get('cache-control')).toBe('no-store')
    const viewer = (await response.json()) as { viewer: string }
    // It also says what the session does now, as STATUS does: for a page whose terminal speaks `tty`.
    expect(viewer).toEqual({
      sessionId: sid,
      viewer: expect.any(String),
      mode: 'ro',
      status: 'running',
      stage: null,
      since: '2026-01-01T00:00:00.000Z',
      reason: null,
      hint: expect.any(String),
    })
    const cookie = String(response.headers.get('set-cookie'))
    const secret = /^cs_[0-9a-f-]{36}=([\w-]{43});/.exec(cookie)?.[1] ?? ''
    expect(cookie).toBe(`cs_${viewer.viewer}=${secret}; Max-Age=3600; HttpOnly; SameSite=Strict`)
    const { rows } = await database.query('select secret_hash, mode from session_viewers where id = $1', [
      viewer.viewer,
    ])
    expect(rows[0].secret_hash).toEqual(createHash('sha256').update(secret).digest())
    const again = await rig.redeem(sid, token, { origin: rig.origin })
    expect(again.headers.get('set-cookie')).toBeNull()
    expect(await problemOf(again)).toMatchObject({ status: 410, code: 'link_used' })
    expect(rig.logs.join('')).not.toContain(secret)
    expect(rig.logs.join('')).not.toContain(token.slice(-40))
  })

  test('that fifty clients use at once opens one', async () => {
    const sid = await rig.seed()
    const token = await rig.token(sid)
    const answers = await Promise.all(Array.from({ length: 50 }, () => rig.redeem(sid, token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 410)).toHaveLength(49)
    await Promise.all(answers.map((answer) => answer.text()))
  })

  test('is refused when it has expired by its own clock or by the database’s', async () => {
    const sid = await rig.seed()
    const late = rig.claims(sid, { iat: 1_000_000, exp: 1_000_300 })
    expect(await problemOf(await rig.redeem(sid, await rig.sign(late)))).toMatchObject({
      status: 401,
      code: 'token_expired',
    })
    const lateRow = await rig.token(sid, { expiresInSeconds: -1 })
    expect(await problemOf(await rig.redeem(sid, lateRow))).toMatchObject({ status: 401, code: 'token_expired' })
    const { rows } = await database.query('select 1 from session_viewers where session_id = $1', [sid])
    expect(rows).toHaveLength(0)
  })

  test('of another session, or with a forged token, is refused and not used up', async () => {
    const [sid, other] = [await rig.seed(), await rig.seed()]
    const token = await rig.token(sid)
    expect(await problemOf(await rig.redeem(other, token))).toMatchObject({ status: 401, code: 'token_invalid' })
    expect(await problemOf(await rig.redeem(sid, `${token.slice(0, -4)}AAAA`))).toMatchObject({ code: 'token_invalid' })
    expect((await rig.redeem(sid, token)).status).toBe(200)
  })

  test('to a session that is gone is 404', async () => {
    const sid = randomUUID()
    expect(await problemOf(await rig.redeem(sid, await rig.token(sid)))).toMatchObject({ code: 'session_not_found' })
  })

  test.each([['https://evil.test'], ['null'], ['http://127.0.0.1.evil.test']])(
    'that a page of %s redeems is refused and not used up',
    async (origin) => {
      const sid = await rig.seed()
      const token = await rig.token(sid)
      expect(await problemOf(await rig.redeem(sid, token, { origin }))).toMatchObject({
        status: 403,
        code: 'origin_refused',
      })
      expect((await rig.redeem(sid, token)).status).toBe(200)
    },
  )

  test.each([
    ['no body', undefined, 'application/json', 400, 'body_required'],
    ['half a body', '{', 'application/json', 400, 'json_invalid'],
    ['a list', '[]', 'application/json', 400, 'body_not_object'],
    ['null', 'null', 'application/json', 400, 'body_not_object'],
    ['a form', 'token=x', 'application/x-www-form-urlencoded', 415, 'unsupported_media_type'],
    ['plain text', '{}', 'text/plain', 415, 'unsupported_media_type'],
    ['no token', '{}', 'application/json', 400, 'invalid_field'],
    ['a number', '{"token":1}', 'application/json', 400, 'invalid_field'],
    ['a token of 5 kB', JSON.stringify({ token: 'x'.repeat(5000) }), 'application/json', 400, 'invalid_field'],
    ['an unknown field', '{"token":"x","mode":"rw"}', 'application/json', 400, 'unknown_field'],
    ['9 kB', JSON.stringify({ token: 'x'.repeat(9000) }), 'application/json', 413, 'body_too_large'],
    ['NULs', '{"token":"\\u0000"}', 'application/json', 401, 'token_invalid'],
  ])('with %s is %s %s', async (_name, body, type, status, code) => {
    const response = await fetch(`${rig.origin}/ws/${randomUUID()}/redeem`, {
      method: 'POST',
      headers: { 'content-type': type },
      ...(body === undefined ? {} : { body }),
    })
    expect(await problemOf(response)).toMatchObject({ status, code })
  })

  test('with a compressed body is refused without decompressing it', async () => {
    const response = await fetch(`${rig.origin}/ws/${randomUUID()}/redeem`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: Buffer.alloc(100),
    })
    expect(await problemOf(response)).toMatchObject({ status: 415, code: 'unsupported_media_type' })
  })
})

describe('a viewer', () => {
  const viewerOf = (sid: string, cookie: string, query = '', headers = {}): Promise<Response> =>
    fetch(`${rig.origin}/ws/${sid}/viewer${query}`, { headers: { cookie, ...headers } })

  test('is recognised by its cookie', async () => {
    const sid = await rig.seed()
    const { cookie, viewer } = await rig.cookie(sid, 'ro')
    const response = await viewerOf(sid, cookie)
    expect(await response.json()).toMatchObject({
      sessionId: sid,
      viewer,
      mode: 'ro',
      status: 'running',
      stage: null,
      reason: null,
    })
  })

  test('is chosen by its id when a browser has two, and is otherwise the newest', async () => {
    const sid = await rig.seed()
    const [first, second] = [await rig.cookie(sid, 'rw'), await rig.cookie(sid, 'ro')]
    const both = `${first.cookie}; ${second.cookie}; cs_x=1; other=2`
    const chosen = async (query: string): Promise<unknown> => (await viewerOf(sid, both, query)).json()
    expect(await chosen('')).toMatchObject({ viewer: second.viewer })
    expect(await chosen(`?viewer=${first.viewer}`)).toMatchObject({ viewer: first.viewer })
    expect(await chosen(`?viewer=${randomUUID()}`)).toMatchObject({ code: 'token_invalid' })
    expect(await chosen(`?viewer=${first.viewer}&viewer=x`)).toMatchObject({ viewer: second.viewer })
  })

  test('is unknown without a cookie, or with one that is wrong, revoked or of another session', async () => {
    const [sid, other] = [await rig.seed(), await rig.seed()]
    const { cookie, viewer } = await rig.cookie(sid)
    const refused = { status: 401, code: 'token_invalid' }
    expect(await problemOf(await viewerOf(sid, ''))).toMatchObject(refused)
    expect(await problemOf(await viewerOf(sid, `cs_${viewer}=${'A'.repeat(43)}`))).toMatchObject(refused)
    expect(await problemOf(await viewerOf(sid, `cs_${viewer}=`))).toMatchObject(refused)
    expect(await problemOf(await viewerOf(other, cookie))).toMatchObject(refused)
    await database.query('update session_viewers set revoked_at = now() where id = $1', [viewer])
    expect(await problemOf(await viewerOf(sid, cookie))).toMatchObject(refused)
  })

  test('learns that a session does not exist, whatever the cookie, and nothing more', async () => {
    const { cookie } = await rig.cookie(await rig.seed())
    for (const held of ['', cookie])
      expect(await problemOf(await viewerOf(randomUUID(), held))).toMatchObject({
        status: 404,
        code: 'session_not_found',
      })
  })

  test('gets a cookie for https only when the request came by https, as a trusted proxy reports', async () => {
    await using behind = await Rig.start(database, keys, { trustedProxyHops: 1 })
    const sid = await behind.seed()
    const https = { 'x-forwarded-proto': 'https', origin: `https://${behind.host}` }
    const response = await behind.redeem(sid, await behind.token(sid), https)
    expect(response.headers.get('set-cookie')).toContain('; Secure')
    const lying = await rig.redeem(sid, await rig.token(sid), { 'x-forwarded-proto': 'https' })
    expect(lying.headers.get('set-cookie')).not.toContain('Secure')
    await Promise.all([response.text(), lying.text()])
  })
})

describe('the gateway’s database role', () => {
  test.each([
    ['select * from session_orders'],
    ['select code_url from sessions'],
    ['update sessions set status = $$failed$$'],
    ['delete from session_viewers'],
    ['insert into token_jti select * from token_jti'],
    ['insert into session_endpoints select * from session_endpoints'],
  ])('may not run: %s', async (sql) => {
    await expect(rig.pool.query(sql)).rejects.toMatchObject({ code: '42501' })
  })
})

describe('faults', () => {
  test('a header block of 20 kB is 431, and bytes that are not HTTP are 400, both with a body', async () => {
    const large = await rawRequest(rig.port, `GET /ws/x HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)
    expect([large.status, JSON.parse(large.body).code]).toEqual([431, 'headers_too_large'])
    const noise = await rawRequest(rig.port, 'NOISE\r\n\r\n')
    expect([noise.status, JSON.parse(noise.body).code]).toEqual([400, 'bad_request'])
    const twice = 'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}'
    const both = await rawRequest(rig.port, `POST /ws/${randomUUID()}/redeem HTTP/1.1\r\nHost: x\r\n${twice}`)
    expect([both.status, both.head.includes('Connection: close')]).toEqual([400, true])
  })

  test('an unreachable database is 503, and the health check still passes', async () => {
    await using lost = await Rig.start(database, keys)
    const sid = await lost.seed()
    const token = await lost.token(sid)
    lost.pool.options.port = 1
    lost.pool.options.connectionString = 'postgres://127.0.0.1:1/x'
    expect(await problemOf(await lost.redeem(sid, token))).toMatchObject({ status: 503, code: 'store_unavailable' })
    expect((await fetch(`${lost.origin}/readyz`)).status).toBe(503)
    expect((await fetch(`${lost.origin}/healthz`)).status).toBe(200)
  })

  test('a plain request id is kept, and any other is replaced', async () => {
    const idFor = async (id: string): Promise<string | null> =>
      (await fetch(`${rig.origin}/ws/x`, { headers: { 'x-request-id': id } })).headers.get('x-request-id')
    expect(await idFor('abc-1')).toBe('abc-1')
    expect(await idFor('x'.repeat(100))).toMatch(/^[0-9a-f-]{36}$/)
    expect(await idFor('a"b')).toMatch(/^[0-9a-f-]{36}$/)
  })
})
