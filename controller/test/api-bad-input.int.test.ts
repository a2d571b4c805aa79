import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { type Answer, type Api, KEY_A, startApi } from './api-system.ts'
import { exchange, readAll, readProblem } from './raw-http.ts'

const CANARY = 'canary-7d1f'
let api: Api
let created = 0
beforeAll(async () => {
  api = await startApi({ poolSize: 3 })
})
afterAll(async () => {
  await api[Symbol.asyncDispose]()
})
// A refusal leaves nothing behind, and neither it nor the log contains what was sent.
afterEach(async () => {
  const { rows } = await api.pool.query('select count(*)::int as n from sessions')
  if (rows[0].n !== created) throw new Error(`${rows[0].n} sessions are there instead of ${created}`)
  if (api.log.join('').includes(CANARY)) throw new Error('the log holds what was sent')
})

function expectProblem(answer: Answer, status: number, code: string): void {
  expect([answer.status, answer.json.code]).toEqual([status, code])
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  expect(answer.headers.get('x-request-id')).toBe(answer.json.instance)
  expect(answer.json.detail.length).toBeGreaterThan(10)
  expect(answer.text).not.toContain(CANARY)
}

const post = (body: unknown, headers?: Record<string, string>) => api.call('POST', '/api/sessions', body, headers)

describe('a refused body', () => {
  test('A1 is empty', async () => {
    expectProblem(await post(undefined), 400, 'body_required')
    expectProblem(await post('', { 'Content-Type': 'text/plain' }), 400, 'body_required')
  })

  test('A2 breaks off, and the answer says where', async () => {
    const answer = await post('{\n "command": "x",\n')
    expectProblem(answer, 400, 'json_invalid')
    expect(answer.json.detail).toContain('position 19 (line 3, column 1)')
    const middle = await post(`{"command": ${CANARY}}`)
    expectProblem(middle, 400, 'json_invalid')
    expect(middle.json.detail).toContain('position 12')
  })

  test.each(['[]', '"x"', 'null', '12', 'true'])('A3 is %s', async (body) => {
    expectProblem(await post(body), 400, 'body_not_object')
  })

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=latin1',
    'application/jsonx',
    '',
  ])('A4 has the type %j', async (type) =>
    expectProblem(await post('{"command":"true"}', { 'Content-Type': type }), 415, 'unsupported_media_type'),
  )

  test('A5 is one byte over the limit, announced or not', async () => {
    const limit = 1.5 * 1024 * 1024
    const body = JSON.stringify({ command: 'x'.repeat(limit + 1 - 14) })
    expect(Buffer.byteLength(body)).toBe(limit + 1)
    const announced = await post(body)
    expectProblem(announced, 413, 'body_too_large')
    expect(announced.json.detail).toContain('1572864')
    const response = await fetch(`${api.url}/api/sessions`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${KEY_A}`, 'Content-Type': 'application/json' },
      body: new Blob([body]).stream(),
      duplex: 'half',
    } as RequestInit)
    expect(response.status).toBe(413)
    expect(((await response.json()) as { code: string }).code).toBe('body_too_large')
    // One byte less is read, and refused for what is in it.
    expectProblem(await post(JSON.stringify({ command: 'x'.repeat(limit - 14) })), 400, 'invalid_field')
  })

  test.each([
    [413, KEY_A],
    [401, 'nobody'],
  ])('is too large, and its %i reaches a client that reads only after it has sent everything', async (status, key) => {
    const socket = net.connect(api.port, '127.0.0.1')
    await once(socket, 'connect')
    const bytes = 32 * 1024 * 1024
    socket.write(
      `POST /api/sessions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${bytes}\r\nConnection: close\r\n\r\n`,
    )
    await new Promise<void>((resolve, reject) =>
      socket.write(Buffer.alloc(bytes, 'x'), (error) => (error ? reject(error) : resolve())),
    )
    const { text, closed } = await readAll(socket)
    expect([readProblem(text).status, closed]).toEqual([status, true])
  })

  test('A6 is compressed, and no bomb is decompressed', async () => {
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, 0x20))
    const before = process.memoryUsage().rss
    const response = await fetch(`${api.url}/api/sessions`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${KEY_A}`, 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' },
      body: bomb,
    })
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
      415,
      'unsupported_media_type',
    ])
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024)
  })

  test('A7 is nested 10,000 deep', async () => {
    for (const body of [
      '['.repeat(10_000) + ']'.repeat(10_000),
      `{"command":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_001)}`,
    ]) {
      const answer = await post(body)
      expectProblem(answer, 400, 'json_invalid')
      expect(answer.json.detail).toContain('16 levels')
    }
  })

  test('A8 has keys that could change prototypes', async () => {
    for (const key of ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']) {
      const answer = await post(`{"command":"true","${key}":{"polluted":"${CANARY}"}}`)
      expectProblem(answer, 400, 'unknown_field')
      expect(answer.json.errors[0]?.path).toBe(key)
    }
    expectProblem(await post('{"command":"true","env":{"__proto__":"x"}}'), 400, 'env_name')
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  test('has a key twice', async () => {
    expectProblem(await post('{"command":"true","command":"false"}'), 400, 'json_invalid')
  })

  test('is not UTF-8', async () => {
    const response = await fetch(`${api.url}/api/sessions`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${KEY_A}`, 'Content-Type': 'application/json' },
      body: Buffer.from([...Buffer.from('{"command":"'), 0xc3, 0x28, ...Buffer.from('"}')]),
    })
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([400, 'json_invalid'])
  })
})

describe('an invalid field', () => {
  test.each([
    ['comand', 'command'],
    ['Command', 'command'],
    ['cmd', undefined],
    ['codeUrl', 'code_url'],
    ['timeout_second', 'timeout_seconds'],
    ['evn', 'env'],
    ['cpu', undefined],
    ['memory', undefined],
  ])('A9, A29 %s is unknown, and the similar name is suggested', async (name, near) => {
    const answer = await post({ [name]: CANARY })
    expectProblem(answer, 400, 'unknown_field')
    const hint = near === undefined ? 'Known fields: command, code_url' : `Did you mean ${near}?`
    expect(answer.json.errors[0]?.message).toContain(hint)
  })

  test.each([
    [['a'], 'must be a string, got an array'],
    [12, 'must be a string, got a number'],
    [true, 'must be a string, got a boolean'],
    [null, 'must be a string, got null'],
    [{ a: CANARY }, 'must be a string, got an object'],
  ])('A10 command is %j', async (command, message) => {
    const answer = await post({ command })
    expectProblem(answer, 400, 'invalid_field')
    expect(answer.json.errors).toEqual([{ path: 'command', message }])
    expect(answer.json.detail).toBe(`command ${message}.`)
  })

  test('A10 command is missing', async () => {
    const answer = await post({})
    expectProblem(answer, 400, 'invalid_field')
    expect(answer.json.detail).toBe('command is required.')
  })

  test.each(['', '   ', '\n\t'])('A11 command is %j', async (command) => {
    const answer = await post({ command })
    expectProblem(answer, 400, 'invalid_field')
    expect(answer.json.errors[0]?.message).toBe('must not be empty')
  })

  test('A11 code_url is empty', async () => {
    const answer = await post({ command: 'true', code_url: '' })
    expectProblem(answer, 400, 'url_invalid')
    expect(answer.json.detail).toBe('code_url must not be empty; leave it out to run in an empty folder.')
  })

  test.each(['command', 'prompt', 'install_cmd'])('A11 %s is one byte too long', async (field) => {
    const answer = await post({ command: 'true', [field]: 'ü'.repeat(32 * 1024) + 'x' })
    expectProblem(answer, 400, 'invalid_field')
    expect(answer.json.errors).toEqual([{ path: field, message: 'must be at most 65536 bytes of UTF-8, got 65537' }])
  })

  test('A12, A13 a string has a NUL or half a surrogate pair', async () => {
    for (const bad of ['\\u0000', '\\ud800', '\\udc00\\ud800'])
      for (const body of [
        `{"command":"a${bad}"}`,
        `{"command":"true","prompt":"${bad}"}`,
        `{"command":"true","install_cmd":"${bad}"}`,
        `{"command":"true","code_url":"https://example.com/${bad}.zip"}`,
        `{"command":"true","env":{"A":"${bad}"}}`,
        `{"command":"true","code_checksum_sha256":"${bad}"}`,
      ])
        expectProblem(await post(body), 400, 'invalid_field')
    expectProblem(await post('{"command":"true","env":{"A\\u0000":"x"}}'), 400, 'env_name')
    expectProblem(await post('{"command":"true","\\u0000":"x"}'), 400, 'unknown_field')
  })

  test.each(['A=B', 'LD_PRELOAD', 'DYLD_INSERT_LIBRARIES', '1X', '', 'A B', 'PROMPT', 'CLISCALE_X', 'BASH_ENV', 'Ä'])(
    'A14 env has the name %j',
    async (name) => {
      const answer = await post({ command: 'true', env: { OK: CANARY, [name]: CANARY } })
      expectProblem(answer, 400, 'env_name')
      expect(answer.json.errors).toHaveLength(1)
    },
  )

  test('A14 a name in env that contains the value is not shown', async () => {
    const answer = await post({ command: 'true', env: { [`TOKEN=${CANARY}`]: '' } })
    expectProblem(answer, 400, 'env_name')
    expect(answer.json.errors[0]?.path).toBe('env.TOKEN=…')
  })

  test('A14 env is too large, in one value or in total', async () => {
    const one = await post({ command: 'true', env: { A: CANARY + 'x'.repeat(65 * 1024) } })
    expectProblem(one, 400, 'env_too_large')
    expect(one.json.errors).toEqual([{ path: 'env.A', message: 'must be at most 65536 bytes of UTF-8, got 66571' }])
    const env = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`V${i}`, 'x'.repeat(60 * 1024)]))
    const all = await post({ command: 'true', env })
    expectProblem(all, 400, 'env_too_large')
    expect(all.json.errors[0]?.message).toMatch(/^must be at most 262144 bytes of UTF-8 .*, got 307210;/)
  })

  test.each([null, [], 'A=B', 1, { A: 1 }, { A: null }, { A: ['x'] }])('A14 env is %j', async (env) => {
    expectProblem(await post({ command: 'true', env }), 400, 'invalid_field')
  })

  test.each(['a'.repeat(63), 'a'.repeat(65), `sha1-${'a'.repeat(40)}`, 'g'.repeat(64), ''])(
    'A15 the checksum is %j',
    async (code_checksum_sha256) => {
      const answer = await post({ command: 'true', code_url: 'https://example.com/a.zip', code_checksum_sha256 })
      expectProblem(answer, 400, 'invalid_field')
      expect(answer.json.errors[0]?.message).toContain(`got ${code_checksum_sha256.length} characters`)
    },
  )

  test.each([-1, 0, 1e9, 86_401, 1.5, '5m', '60', null, true])('A25 timeout_seconds is %j', async (timeout_seconds) => {
    const answer = await post({ command: 'true', timeout_seconds })
    expectProblem(answer, 400, 'invalid_field')
    expect(answer.json.errors[0]?.path).toBe('timeout_seconds')
  })

  test('A25 timeout_seconds is too large to be exact, and the answer gives its limits', async () => {
    const above = await post({ command: 'true', timeout_seconds: 2 ** 53 })
    expect(above.json.errors).toEqual([
      { path: 'timeout_seconds', message: 'must be at most 86400, got 9007199254740992' },
    ])
    const below = await post({ command: 'true', timeout_seconds: -(2 ** 53) })
    expect(below.json.errors).toEqual([
      { path: 'timeout_seconds', message: 'must be at least 1, got -9007199254740992' },
    ])
  })

  test('A25 timeout_seconds is NaN', async () => {
    expectProblem(await post('{"command":"true","timeout_seconds":NaN}'), 400, 'json_invalid')
  })

  test('is reported together with all others, an unknown one first', async () => {
    const answer = await post({ command: 1, comand: 'x', env: { '1': 'x' }, timeout_seconds: 0, code_url: 'ftp://x' })
    expectProblem(answer, 400, 'unknown_field')
    expect(answer.json.errors.map(({ path }: { path: string }) => path)).toEqual([
      'comand',
      'command',
      'timeout_seconds',
      'code_url',
      'env.1',
    ])
    expect(answer.json.detail).toContain('4 more faults')
  })

  test('among a thousand gives a short answer', async () => {
    const answer = await post(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`field${i}`, 1])))
    expectProblem(answer, 400, 'unknown_field')
    expect(answer.json.errors).toHaveLength(20)
  })
})

describe('a code_url that may not be fetched', () => {
  test.each([
    ['U1', 'file:///etc/passwd', 'url_scheme'],
    ['U2', 'gopher://example.com/1', 'url_scheme'],
    ['U3', 'data:text/plain,x', 'url_scheme'],
    ['U4', 'ftp://example.com/a.zip', 'url_scheme'],
    ['U5', 'http://example.com/a.zip', 'url_scheme'],
    ['U6', `https://user:${CANARY}@github.com/o/r`, 'url_credentials'],
    ['U6', `https://${CANARY}@github.com/o/r`, 'url_credentials'],
    ['U7', 'https://2130706433/a.zip', 'url_host'],
    ['U8', 'https://0x7f.1/a.zip', 'url_host'],
    ['U9', 'https://017700000001/a.zip', 'url_host'],
    ['U10', 'https://0/a.zip', 'url_host'],
    ['U11', 'https://[::1]/a.zip', 'url_host'],
    ['U12', 'https://[::ffff:a9fe:a9fe]/a.zip', 'url_host'],
    ['U13', 'https://[::127.0.0.1]/a.zip', 'url_host'],
    ['U14', 'https://[64:ff9b::a9fe:a9fe]/a.zip', 'url_host'],
    ['U15', 'https://[fd00:ec2::254]/a.zip', 'url_host'],
    ['U16', 'https://①②⑦.⓪.⓪.①/a.zip', 'url_host'],
    ['U17', 'https://metadata.google.internal/a.zip', 'url_host'],
    ['U23', 'https://example.com:22/a.zip', 'url_port'],
    ['U23', 'https://example.com:0/a.zip', 'url_port'],
    ['U23', 'https://example.com:99999/a.zip', 'url_port'],
    ['U24', 'https://github.com/o/r/tree/../../x', 'url_invalid'],
    ['U31', `https://example.com/${'a'.repeat(2029)}`, 'url_too_long'],
    ['folder', '/etc', 'url_scheme'],
    ['empty', '', 'url_invalid'],
    ['text', 'not a url', 'url_invalid'],
  ])('%s %s', async (_row, code_url, code) => {
    const answer = await post({ command: 'true', code_url })
    expectProblem(answer, 400, code)
    expect(answer.json.errors[0]?.path).toBe('code_url')
    expect(answer.json.detail).not.toMatch(/^code_url code_url/)
  })

  test('U22, U32 look-alikes are judged as what they are: other hosts, and archives with .git in their path', async () => {
    await using narrow = await startApi({
      settings: { fetchPolicy: { codeHosts: ['github.com', 'x.github.io'], unsafeHosts: [], localFolders: false } },
    })
    const codes: Record<string, unknown> = {}
    for (const code_url of [
      'https://github.com.evil.example/o/r/tree/main/x',
      'https://xn--gthub-cua.com/o/r/tree/main/x',
      'https://github.com./o/r/tree/main/x',
      'https://x.github.io/a.zip',
    ]) {
      const answer = await narrow.create({ command: 'true', code_url })
      codes[code_url] = answer.json.code ?? answer.status
    }
    expect(Object.values(codes)).toEqual(['url_host', 'url_host', 201, 201])
  })

  test('a checksum without a code_url is refused, because nothing would verify it', async () => {
    const answer = await post({ command: 'true', code_checksum_sha256: 'a'.repeat(64) })
    expectProblem(answer, 400, 'invalid_field')
    expect(answer.json.errors).toEqual([
      { path: 'code_checksum_sha256', message: expect.stringContaining('send code_url too') },
    ])
  })

  test('A16 a missing checksum is refused where the policy requires one', async () => {
    await using strict = await startApi({ settings: { requireChecksum: true } })
    const answer = await strict.create({ command: 'true', code_url: 'https://example.com/a.zip' })
    expectProblem(answer, 400, 'checksum_required')
    expect(answer.json.errors[0]?.path).toBe('code_checksum_sha256')
    expect((await strict.create({ command: 'true' })).status).toBe(201)
    const code_checksum_sha256 = 'A'.repeat(64)
    const given = { command: 'true', code_url: 'https://example.com/a.zip', code_checksum_sha256 }
    expect((await strict.create(given)).status).toBe(201)
  })
})

test('T20 a checksum for a repository is refused, because a repository is not a single file', async () => {
  await using api = await startApi()
  const answer = await api.create({
    command: 'true',
    code_url: 'https://example.com/r.git',
    code_checksum_sha256: 'a'.repeat(64),
  })
  expectProblem(answer, 400, 'invalid_field')
  expect(answer.json.errors[0]?.message).toContain('a repository is not a single file')
})

describe('a path that does not exist', () => {
  test.each([
    '/api/sessions/..%2f..',
    '/api/sessions/%2e%2e%2f',
    `/api/sessions/${'-'.repeat(36)}`,
    '/api/sessions/0D9CBD9F-6E2E-4B7E-9A53-0B2AD6B5D7F3',
    "/api/sessions/'%20or%201=1",
    `/api/sessions/${'a'.repeat(3000)}`,
    '/api/sessions/%00',
    '/api/sessions/x/y/z',
    '/api/session',
    '/api',
    '/nothing',
    '/internal/claim',
    '/API/sessions',
  ])('A17 %s', async (where) => {
    const answer = await api.call('GET', where)
    expect([answer.status, answer.json.status]).toEqual([404, 404])
    expect(['session_not_found', 'not_found']).toContain(answer.json.code)
  })

  test('A17 a percent sign that encodes nothing', async () => {
    expectProblem(await api.call('GET', '/api/sessions/%zz'), 400, 'bad_request')
  })

  test.each([
    ['PUT', '/api/sessions', 'GET, HEAD, POST'],
    ['PATCH', '/api/sessions/x', 'DELETE, GET, HEAD'],
    ['GET', '/api/sessions/x/token', 'POST'],
    ['POST', '/api/sessions/x/logs', 'GET, HEAD'],
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['POST', '/.well-known/jwks.json', 'GET, HEAD'],
    ['OPTIONS', '/api/sessions', 'GET, HEAD, POST'],
  ])('%s %s is not allowed', async (method, where, allow) => {
    const answer = await api.call(method, where)
    expectProblem(answer, 405, 'method_not_allowed')
    expect(answer.headers.get('allow')).toBe(allow)
  })
})

describe('an invalid credential', () => {
  test.each([
    '',
    'Bearer',
    'Bearer ',
    `bearer  ${KEY_A}`,
    `Basic ${btoa(`x:${KEY_A}`)}`,
    KEY_A,
    `Bearer ${KEY_A}x`,
    'Bearer a b',
  ])('A21 %j', async (authorization) => {
    for (const where of ['/api/sessions', '/api/sessions/x', '/api/nothing']) {
      const answer = await api.call('GET', where, undefined, { Authorization: authorization })
      expectProblem(answer, 401, 'unauthorized')
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="cliscale"/)
    }
  })

  test('A21 is explained and never shown', async () => {
    const detailOf = async (Authorization: string): Promise<string> =>
      (await api.call('GET', '/api/sessions', undefined, { Authorization })).json.detail as string
    expect(await detailOf(KEY_A)).toMatch(/^The header Authorization does not begin with "Bearer "\. Send the header /)
    expect(await detailOf(`Bearer ${KEY_A}x`)).toMatch(/^This server does not know this API key\. Send /)
    for (const empty of ['Bearer', 'Bearer ', 'bearer  ']) {
      expect(await detailOf(empty)).toMatch(/^The key after "Bearer " is empty\. Send /)
    }
  })

  test('A21 no Authorization at all', async () => {
    const response = await fetch(`${api.url}/api/sessions`, { method: 'POST', body: '{' })
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="cliscale"')
  })

  test('J10 may be one of our own tokens', async () => {
    const { json } = await api.create()
    created += 1
    const { rows } = await api.pool.query('select assertion from token_jti where session_id = $1', [json.sessionId])
    for (const token of [json.sessionJWT, rows[0].assertion])
      expectProblem(
        await api.call('GET', '/api/sessions', undefined, { Authorization: `Bearer ${token}` }),
        401,
        'unauthorized',
      )
  })

  test('is not a matter of case: the scheme may be in any', async () => {
    const answer = await api.call('GET', '/api/sessions', undefined, { Authorization: `bEaReR ${KEY_A}` })
    expect(answer.status).toBe(200)
  })
})

describe('a request that is not well-formed HTTP', () => {
  const auth = `Authorization: Bearer ${KEY_A}\r\n`

  test('A20 headers that may appear once appear twice', async () => {
    for (const twice of [auth, 'Idempotency-Key: a\r\n', 'Content-Type: application/json\r\n', 'Host: b\r\n']) {
      const extra = twice.startsWith('Host') ? '' : twice
      const { text } = await exchange(
        api.port,
        `POST /api/sessions HTTP/1.1\r\nHost: a\r\n${auth.replace(extra, '')}${extra}${twice}Content-Length: 2\r\nConnection: close\r\n\r\n{}`,
      )
      const { status, problem } = readProblem(text)
      expect([status, problem.code]).toEqual([400, 'duplicate_header'])
    }
  })

  test('A23 Transfer-Encoding beside Content-Length, and other attempts to smuggle', async () => {
    for (const bad of [
      `POST /api/sessions HTTP/1.1\r\nHost: a\r\n${auth}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n`,
      `POST /api/sessions HTTP/1.1\r\nHost: a\r\n${auth}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde`,
      `POST /api/sessions HTTP/1.1\r\nHost: a\r\n${auth}Content-Length: +4\r\n\r\nabcd`,
      `GET /api/sessions HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n`,
      `GET /api/sessions HTTP/1.1\r\nHost : a\r\n\r\n`,
      `GARBAGE\r\n\r\n`,
      `GET /api/sessions HTTP/9.9\r\nHost: a\r\n\r\n`,
    ]) {
      const { text, closed } = await exchange(api.port, bad)
      const { status, problem } = readProblem(text)
      expect([status, problem.code, closed]).toEqual([400, 'bad_request', true])
    }
  })

  test('CONNECT, as to a proxy', async () => {
    const { text, closed } = await exchange(
      api.port,
      'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n',
    )
    const { status, problem } = readProblem(text)
    expect([status, problem.code, closed]).toEqual([405, 'method_not_allowed', true])
  })

  test('A24 a header block of 64 KiB', async () => {
    const { text, closed } = await exchange(
      api.port,
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(64 * 1024)}\r\n\r\n`,
    )
    const { status, problem, head } = readProblem(text)
    expect([status, problem.code, closed]).toEqual([431, 'headers_too_large', true])
    expect(head).toContain('Content-Type: application/problem+json')
  })

  test('a request without Host, or with an invalid one', async () => {
    const none = await exchange(api.port, 'GET /healthz HTTP/1.1\r\n\r\n')
    expect(readProblem(none.text)).toMatchObject({ status: 400, problem: { code: 'bad_request' } })
    for (const host of ['a b', 'a/b', 'a@b', 'a"b', '<script>', `${'a'.repeat(300)}`]) {
      const body = '{"command":"true"}'
      const { text } = await exchange(
        api.port,
        `POST /api/sessions HTTP/1.1\r\nHost: ${host}\r\n${auth}Content-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      )
      expect(readProblem(text)).toMatchObject({ status: 400, problem: { code: 'bad_request' } })
    }
  })

  test('a body that breaks off', async () => {
    const head = `POST /api/sessions HTTP/1.1\r\nHost: a\r\n${auth}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n`
    await exchange(api.port, `${head}{"command":"true"`, 100)
    expect((await api.call('GET', '/healthz')).status).toBe(200)
  })

  test.each([`${'a'.repeat(10_000)}`, 'a b', 'a;b', 'a\tb', '"x"', 'ä', ''])(
    'A28 the request id %j is replaced',
    async (id) => {
      const { text } = await exchange(
        api.port,
        `GET /api/sessions HTTP/1.1\r\nHost: a\r\nX-Request-Id: ${id}\r\nConnection: close\r\n\r\n`,
      )
      expect(/^x-request-id: (.*)$/im.exec(text)?.[1]).toMatch(/^[0-9a-f-]{36}$/)
    },
  )

  test('A28 a short and plain request id is kept, and appears in the one log line', async () => {
    const answer = await api.call('GET', '/api/sessions?limit=3', undefined, { 'X-Request-Id': 'trace-1.a_B' })
    expect(answer.headers.get('x-request-id')).toBe('trace-1.a_B')
    const lines = api.log.map((line) => JSON.parse(line)).filter(({ requestId }) => requestId === 'trace-1.a_B')
    expect(lines).toEqual([
      expect.objectContaining({ message: 'request', method: 'GET', route: '/api/sessions', status: 200 }),
    ])
  })
})

const BLNS = fileURLToPath(new URL('../../../shared/corpora/payloads/blns.json', import.meta.url))
if (existsSync(BLNS)) {
  describe('A26 the big list of naughty strings', () => {
    const strings = JSON.parse(readFileSync(BLNS, 'utf8')) as string[]
    const shapes: Record<string, (text: string) => object> = {
      command: (text) => ({ command: text }),
      prompt: (text) => ({ command: 'true', prompt: text }),
      install_cmd: (text) => ({ command: 'true', install_cmd: text }),
      code_url: (text) => ({ command: 'true', code_url: text }),
      code_checksum_sha256: (text) => ({ command: 'true', code_checksum_sha256: text }),
      'a value of env': (text) => ({ command: 'true', env: { A: text } }),
      'a name of env': (text) => ({ command: 'true', env: { [text]: 'x' } }),
      'a name of a field': (text) => ({ command: 'true', [text]: 'x' }),
    }
    test.each(Object.keys(shapes))(
      'as %s causes no internal error',
      async (field) => {
        for (let i = 0; i < strings.length; i += 20) {
          const answers = await Promise.all(strings.slice(i, i + 20).map((text) => post(shapes[field]!(text))))
          created += answers.filter(({ status }) => status === 201).length
          expect(answers.map(({ status }) => status).filter((status) => status !== 201 && status !== 400)).toEqual([])
        }
      },
      60_000,
    )

    test('in the path, the query and the key causes no internal error', async () => {
      for (const text of strings) {
        const quoted = encodeURIComponent(text.toWellFormed())
        const answers = [
          await api.call('GET', `/api/sessions/${quoted}`),
          await api.call('GET', `/api/sessions?cursor=${quoted}`),
        ]
        for (const { status } of answers) expect([200, 400, 404, 431]).toContain(status)
      }
    }, 60_000)
  })
} else {
  console.log(`${path.basename(BLNS)} is not beside this clone (${BLNS}): its 485 strings are not tried.`)
}
