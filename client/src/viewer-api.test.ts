import { describe, expect, test } from '@jest/globals'
import { createViewerApi, type ViewerAnswer } from './viewer-api.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const problem = (status: number, code: string): Response => new Response(JSON.stringify({ code }), { status })

function api(answer: () => Response | Promise<Response>, seen: Request[] = []) {
  const request: typeof fetch = async (input, init) => {
    seen.push(new Request(new URL(input as string, 'http://test'), init))
    return answer()
  }
  return createViewerApi('/ws/abc', request, () => NOW)
}

describe('redeem', () => {
  test('sends the token in the body, never in the address', async () => {
    const seen: Request[] = []
    const body = { sessionId: 's', viewer: 'v1', mode: 'ro', status: 'running' }
    const answer = await api(() => Response.json(body), seen).redeem('secret')
    expect(answer).toEqual({ kind: 'viewer', viewer: { viewer: 'v1', mode: 'ro', clockOffsetMs: 0 } })
    expect(seen[0]?.method).toBe('POST')
    expect(seen[0]?.url).toBe('http://test/ws/abc/redeem')
    expect(await seen[0]?.json()).toEqual({ token: 'secret' })
  })

  const cases: [string, Response, ViewerAnswer][] = [
    ['a used link', problem(410, 'link_used'), { kind: 'refused', why: 'link_used' }],
    ['an expired one', problem(401, 'token_expired'), { kind: 'refused', why: 'expired' }],
    ['a bad one', problem(401, 'token_invalid'), { kind: 'refused', why: 'no_access' }],
    ['no session', problem(404, 'session_not_found'), { kind: 'refused', why: 'not_found' }],
    ['a proxy that says 410 in HTML', new Response('<h1>', { status: 410 }), { kind: 'refused', why: 'link_used' }],
    ['a code of tomorrow', problem(403, 'other'), { kind: 'refused', why: 'no_access' }],
    ['a full server', problem(429, 'rate_limited'), { kind: 'unreachable' }],
    ['a broken server', problem(503, 'store_unavailable'), { kind: 'unreachable' }],
    ['a page instead of JSON', new Response('<html>', { status: 200 }), { kind: 'unreachable' }],
  ]
  test.each(cases)('%s', async (_name, response, expected) => {
    expect(await api(() => response).redeem('t')).toEqual(expected)
  })

  test('no network is an answer, not a rejection', async () => {
    const failing = api(() => Promise.reject(new TypeError('Failed to fetch')))
    expect(await failing.redeem('t')).toEqual({ kind: 'unreachable' })
  })
})

test('find names the viewer and learns how far the clocks differ', async () => {
  const seen: Request[] = []
  const headers = { date: new Date(NOW + 90_000).toUTCString() }
  const answer = await api(() => Response.json({ viewer: 'a b', mode: 'rw' }, { headers }), seen).find('a b')
  expect(seen[0]?.url).toBe('http://test/ws/abc/viewer?viewer=a%20b')
  expect(answer).toEqual({ kind: 'viewer', viewer: { viewer: 'a b', mode: 'rw', clockOffsetMs: 90_000 } })
})
