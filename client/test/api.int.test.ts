import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from '@jest/globals'
import { type Api, createApi } from '../src/api.ts'

const KEY = 'cs_key_0123456789'
const servers = new Set<http.Server>()

/** Calls to a server that answers every request so. */
async function apiOf(answer: RequestListener, options: { limitMs?: number } = {}): Promise<Api> {
  const server = http.createServer(answer).listen(0, '127.0.0.1')
  servers.add(server)
  await once(server, 'listening')
  return createApi({ base: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, key: KEY, ...options })
}
const says =
  (status: number, body: string, headers: http.OutgoingHttpHeaders = {}): RequestListener =>
  (_req, res) =>
    void res.writeHead(status, headers).end(body)

afterEach(() => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  servers.clear()
})

describe('an answer that is not of CLI Scale', () => {
  const cases: [string, RequestListener, number][] = [
    ['a page', says(200, '<html>', { 'content-type': 'text/html' }), 200],
    ['an empty body', says(200, ''), 200],
    ['a list', says(200, '[]'), 200],
    ['half of the JSON', says(200, '{"sessionId":'), 200],
    ['500 of a proxy', says(500, '<h1>Bad</h1>'), 500],
    ['500 without a word', says(500, ''), 500],
    ['a refusal without a code', says(403, '{"error":"no"}'), 403],
    ['a refusal that is null', says(403, 'null'), 403],
  ]
  test.each(cases)('%s is a strange answer', async (_name, answer, status) => {
    const api = await apiOf(answer)
    await expect(api.get('a')).rejects.toMatchObject({ name: 'ApiError', code: 'strange_answer', status })
  })

  test('a redirect is not followed: the key stays here', async () => {
    const asked: (string | undefined)[] = []
    const api = await apiOf((req, res) => {
      asked.push(req.url)
      res.writeHead(307, { location: '/elsewhere' }).end()
    })
    await expect(api.create({ command: 'true' })).rejects.toMatchObject({ code: 'strange_answer', status: 307 })
    expect(asked).toEqual(['/api/sessions'])
  })
})

describe('no answer', () => {
  const hangs: RequestListener = () => {}
  const hangsInBody: RequestListener = (_req, res) => void res.writeHead(200).write('{')

  test.each([
    ['from the start', hangs],
    ['within the body', hangsInBody],
  ])('a server that hangs %s is given up after the limit', async (_name, answer) => {
    const api = await apiOf(answer, { limitMs: 100 })
    await expect(api.list()).rejects.toMatchObject({ code: 'no_answer', status: undefined })
  })

  test('a signal ends a call with its own reason', async () => {
    const api = await apiOf(hangs)
    await expect(api.list({}, { signal: AbortSignal.abort(new Error('mine')) })).rejects.toThrow('mine')
    const later = new AbortController()
    const call = api.stop('a', { signal: later.signal })
    setTimeout(() => later.abort(new Error('later')), 20)
    await expect(call).rejects.toThrow('later')
  })

  test.each([
    ['before the head', (res: http.ServerResponse) => void res.socket?.destroy()],
    [
      'within the body',
      (res: http.ServerResponse) => {
        res.writeHead(200, { 'content-length': 100 }).write('{')
        setTimeout(() => res.socket?.destroy(), 20)
      },
    ],
  ])('a connection cut %s is unreachable', async (_name, cut) => {
    const api = await apiOf((_req, res) => cut(res))
    await expect(api.logs('a')).rejects.toMatchObject({ code: 'unreachable' })
  })
})

describe('a refusal', () => {
  test('has the code, the status, the field, the detail and when to come back', async () => {
    const problem = { code: 'rate_limited', detail: 'Too many.', errors: [{ path: 'env.PATH', message: 'no' }] }
    const api = await apiOf(says(429, JSON.stringify(problem), { 'retry-after': '7' }))
    await expect(api.create({ command: 'true' })).rejects.toMatchObject({
      code: 'rate_limited',
      status: 429,
      field: 'env.PATH',
      message: 'Too many.',
      retryAfterSeconds: 7,
    })
  })

  test('that repeats the key is shown without it', async () => {
    const api = await apiOf(says(401, JSON.stringify({ code: 'unauthorized', detail: `Not ${KEY}.` })))
    await expect(api.get('a')).rejects.toMatchObject({ message: 'Not ….' })
  })
})

test('a key that no header can carry is refused without being repeated', () => {
  const make = () => createApi({ base: 'http://127.0.0.1', key: 'secret\n' })
  expect(make).toThrow(TypeError)
  expect(make).toThrow(/^((?!secret).)*$/s)
})

test('each call asks what the API knows', async () => {
  const asked: string[] = []
  const api = await apiOf((req, res) => {
    let body = ''
    req.on('data', (chunk) => (body += String(chunk)))
    req.on('end', () => {
      const { authorization, 'idempotency-key': once = '-' } = req.headers
      asked.push([req.method, req.url, body, once, authorization === `Bearer ${KEY}`].join(' '))
      res.end('{"ok":1}')
    })
  })
  await api.create({ command: 'true' }, { idempotencyKey: 'k' })
  await api.get('a/b')
  await api.list()
  await api.list({ limit: 2, cursor: 'x y' })
  await api.stop('a')
  await api.token('a', 'ro')
  expect(new TextDecoder().decode(await api.logs('a'))).toBe('{"ok":1}')
  expect(asked).toEqual([
    'POST /api/sessions {"command":"true"} k true',
    'GET /api/sessions/a%2Fb  - true',
    'GET /api/sessions  - true',
    'GET /api/sessions?limit=2&cursor=x+y  - true',
    'DELETE /api/sessions/a  - true',
    'POST /api/sessions/a/token {"mode":"ro"} - true',
    'GET /api/sessions/a/logs  - true',
  ])
})
