import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import type { TestDatabase } from '@cliscale/test-kit'
import {
  createDatabase,
  createKeys,
  echoPod,
  Inbox,
  type Keys,
  type Pod,
  rawRequest,
  Rig,
  until,
  upgradeHead,
} from './support.ts'

let database: TestDatabase
let keys: Keys
let rig: Rig
let pod: Pod

beforeAll(async () => {
  database = await createDatabase()
  keys = await createKeys()
  rig = await Rig.start(database, keys)
  pod = await echoPod()
})
afterAll(async () => {
  await rig[Symbol.asyncDispose]()
  await pod[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

type Head = Omit<Parameters<typeof upgradeHead>[0], 'path' | 'host'> & { path?: string }

/** The answer to a refused upgrade, as `status code`. */
async function refusal(target: Rig, sid: string, token: string, head: Head = {}): Promise<string> {
  const path = head.path ?? `/ws/${sid}?token=${token}`
  const answer = await rawRequest(target.port, upgradeHead({ host: target.host, ...head, path }))
  if (answer.status === 101) return '101'
  expect(answer.head).toMatch(/\r\nConnection: close/i)
  expect(answer.head).toMatch(/\r\nContent-Type: application\/problem\+json/i)
  const problem = JSON.parse(answer.body) as { status: number; code: string; detail: string }
  expect(problem.status).toBe(answer.status)
  expect(problem.detail).not.toContain(token)
  return `${answer.status} ${problem.code}`
}

async function rowsOf(sid: string): Promise<number> {
  return (await database.query('select 1 from token_jti where session_id = $1', [sid])).rows.length
}

describe('an upgrade is refused with an HTTP answer, and its token is not used up', () => {
  const id = randomUUID()
  test.each<[string, Head, string]>([
    ['another method', { method: 'POST', headers: { 'Content-Length': '0' } }, '405 method_not_allowed'],
    ['another protocol', { headers: { Upgrade: 'h2c' } }, '426 upgrade_required'],
    ['version 8', { headers: { 'Sec-WebSocket-Version': '8' } }, '426 upgrade_required'],
    ['no version', { headers: { 'Sec-WebSocket-Version': undefined } }, '426 upgrade_required'],
    ['no key', { headers: { 'Sec-WebSocket-Key': undefined } }, '400 bad_request'],
    ['a key of 15 bytes', { headers: { 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAA' } }, '400 bad_request'],
    ['a key that is not base64', { headers: { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' } }, '400 bad_request'],
    [
      'two keys',
      { headers: { 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] } },
      '400 bad_request',
    ],
    ['a body', { headers: { 'Content-Length': '5' } }, '400 bad_request'],
    ['two Origins', { headers: { Origin: ['http://a.test', 'http://b.test'] } }, '400 duplicate_header'],
    ['a foreign Origin', { headers: { Origin: 'https://evil.test' } }, '403 origin_refused'],
    ['the Origin null', { headers: { Origin: 'null' } }, '403 origin_refused'],
    ['an Origin that begins like ours', { headers: { Origin: 'http://127.0.0.1.evil.test' } }, '403 origin_refused'],
    ['the path /ws/', { path: '/ws/' }, '404 not_found'],
    ['a path with dots', { path: `/ws/x/../../${id}` }, '404 not_found'],
    ['an encoded slash', { path: `/ws%2f${id}` }, '404 not_found'],
    ['a slash at the end', { path: `/ws/${id}/` }, '404 not_found'],
    ['a whole URL', { path: `http://evil.test/ws/${id}` }, '404 not_found'],
    ['another path', { path: '/api/sessions' }, '404 not_found'],
    ['no token', { path: `/ws/${id}` }, '401 token_invalid'],
    ['an empty token', { path: `/ws/${id}?token=` }, '401 token_invalid'],
    ['two tokens', { path: `/ws/${id}?token=a&token=b` }, '400 bad_request'],
    ['the protocol bearer,x', { headers: { 'Sec-WebSocket-Protocol': 'bearer,x' } }, '400 bad_request'],
    ['protocols that are no tokens', { headers: { 'Sec-WebSocket-Protocol': 'tty,,a b' } }, '400 bad_request'],
    ['a protocol twice', { headers: { 'Sec-WebSocket-Protocol': 'tty, tty' } }, '400 bad_request'],
    ['only unknown protocols', { headers: { 'Sec-WebSocket-Protocol': 'chat' } }, '400 bad_request'],
    ['a bearer protocol alone', { headers: { 'Sec-WebSocket-Protocol': 'cliscale.bearer.x' } }, '400 bad_request'],
    ['a cookie without Origin', { path: `/ws/${id}`, headers: { Cookie: `cs_${id}=x` } }, '403 origin_refused'],
  ])('with %s', async (_name, head, expected) => {
    const sid = await rig.seed({ port: pod.port })
    const token = await rig.token(sid)
    expect(await refusal(rig, sid, token, head)).toBe(expected)
    expect(await rowsOf(sid)).toBe(1)
  })

  test('with a foreign Origin, whatever the credential', async () => {
    const sid = await rig.seed({ port: pod.port })
    const token = await rig.token(sid)
    const { cookie } = await rig.cookie(sid)
    const bearer = `cliscale.v1, cliscale.bearer.${token}`
    const Origin = 'https://evil.test'
    const path = `/ws/${sid}`
    expect(await refusal(rig, sid, token, { path, headers: { Origin, 'Sec-WebSocket-Protocol': bearer } })).toBe(
      '403 origin_refused',
    )
    expect(await refusal(rig, sid, token, { path, headers: { Origin, Cookie: cookie } })).toBe('403 origin_refused')
    expect(await rowsOf(sid)).toBe(1)
  })

  test('with version 8, and the answer names the version that is spoken', async () => {
    const head = upgradeHead({ path: `/ws/${id}`, host: rig.host, headers: { 'Sec-WebSocket-Version': '8' } })
    expect((await rawRequest(rig.port, head)).head).toContain('Sec-WebSocket-Version: 13')
  })

  test('with the protocol bearer,x, and the answer names what to send instead', async () => {
    const headers = { 'Sec-WebSocket-Protocol': 'bearer,x' }
    const answer = await rawRequest(rig.port, upgradeHead({ path: `/ws/${id}`, host: rig.host, headers }))
    expect(answer.body).toContain('cliscale.bearer.<token>')
  })
})

describe('a token', () => {
  test('of another session is refused and not used up', async () => {
    const [sid, other] = [await rig.seed(), await rig.seed()]
    const token = await rig.token(sid)
    expect(await refusal(rig, other, token)).toBe('401 token_invalid')
    expect(await rowsOf(sid)).toBe(1)
  })

  test('that was redeemed, used or never stored is refused', async () => {
    const sid = await rig.seed({ port: pod.port })
    const redeemed = await rig.token(sid)
    await (await rig.redeem(sid, redeemed)).text()
    expect(await refusal(rig, sid, redeemed)).toBe('401 token_used')
    expect(await refusal(rig, sid, await rig.sign(rig.claims(sid)))).toBe('401 token_used')
    const stolen = await rig.token(sid)
    const { rows } = await database.query('select jti from token_jti where session_id = $1', [sid])
    const elsewhere = await rig.seed()
    expect(await refusal(rig, elsewhere, await rig.sign(rig.claims(elsewhere, { jti: rows[0].jti })))).toBe(
      '401 token_used',
    )
    expect(await rowsOf(sid)).toBe(1)
    expect(stolen).not.toBe(redeemed)
  })

  test('that has expired says so', async () => {
    const sid = await rig.seed()
    expect(await refusal(rig, sid, await rig.sign(rig.claims(sid, { iat: 1000, exp: 1300 })))).toBe('401 token_expired')
    expect(await refusal(rig, sid, await rig.token(sid, { expiresInSeconds: -1 }))).toBe('401 token_expired')
  })

  test('that is really an attach assertion is refused', async () => {
    const sid = await rig.seed()
    await rig.token(sid)
    const { rows } = await database.query('select assertion from token_jti where session_id = $1', [sid])
    expect(await refusal(rig, sid, rows[0].assertion)).toBe('401 token_invalid')
  })

  test('of a session that is gone is 404', async () => {
    const sid = randomUUID()
    expect(await refusal(rig, sid, await rig.token(sid))).toBe('404 session_not_found')
  })

  test('of a session whose image has its own ttyd needs the protocol tty', async () => {
    const sid = await rig.seed({ kind: 'ttyd', podUid: null })
    expect(await refusal(rig, sid, await rig.token(sid))).toBe('400 bad_request')
    expect(await rowsOf(sid)).toBe(1)
  })

  test('of 20 kB is refused before it is parsed', async () => {
    const answer = await rawRequest(
      rig.port,
      upgradeHead({ path: `/ws/${randomUUID()}?token=${'x'.repeat(20_000)}`, host: rig.host }),
    )
    expect(answer.status).toBe(431)
  })

  test('appears in no log', async () => {
    const sid = await rig.seed()
    const token = await rig.token(sid)
    await refusal(rig, sid, token, { headers: { Origin: 'https://evil.test' } })
    expect(rig.logs.join('')).toContain('upgrade refused')
    expect(rig.logs.join('')).not.toContain(token.slice(-40))
    expect(rig.logs.join('')).not.toContain('?token')
  })
})

/** Offers each token on many connections at once, to each gateway in turn; returns how often each was accepted. */
async function race(gateways: readonly Rig[], tokens: number, connections: number): Promise<number[]> {
  const counts: number[] = []
  for (let t = 0; t < tokens; t += 1) {
    const sid = await rig.seed({ port: pod.port })
    const token = await rig.token(sid)
    const attempts = Array.from({ length: connections }, async (_, i) => {
      const ws = (gateways[i % gateways.length] as Rig).open(sid, { query: `?token=${token}` })
      const inbox = new Inbox(ws)
      const outcome = await Promise.race([once(ws, 'open').then(() => 1), once(ws, 'close').then(() => 0)]).catch(
        () => 0,
      )
      ws.terminate()
      return { outcome, inbox }
    })
    counts.push((await Promise.all(attempts)).reduce((sum, { outcome }) => sum + outcome, 0))
  }
  return counts
}

describe('many connections at once', () => {
  test('that offer 30 tokens 20 times each to two gateways get in once per token', async () => {
    await using second = await Rig.start(database, keys)
    expect(await race([rig, second], 30, 20)).toEqual(Array.from({ length: 30 }, () => 1))
    await until(() => pod.sockets.size === 0)
  })

  test('beyond the places for one address get 503 at once', async () => {
    await using narrow = await Rig.start(database, keys, { maxPendingUpgradesPerAddress: 2, poolMax: 2 })
    const sid = await narrow.seed()
    const held = await Promise.all([narrow.pool.connect(), narrow.pool.connect()])
    const tokens = await Promise.all([0, 1, 2].map(() => narrow.token(sid)))
    const waiting = tokens.slice(0, 2).map((token) => narrow.open(sid, { query: `?token=${token}` }))
    waiting.forEach((ws) => ws.on('error', () => undefined))
    await until(() => narrow.gateway.stats().pending === 2)
    expect(await refusal(narrow, sid, String(tokens[2]))).toBe('503 too_many_connections')
    for (const client of held) client.release()
    await Promise.all(waiting.map((ws) => once(ws, 'open')))
    expect(narrow.gateway.stats()).toMatchObject({ pending: 0, accepted: 2, refused: { too_many_connections: 1 } })
    for (const ws of waiting) ws.terminate()
  })
})

describe('faults while a token is checked', () => {
  test('keys that cannot be fetched are 503, and the token is kept', async () => {
    await using broken = await Rig.start(database, keys, { keys: () => Promise.reject(new Error('no')) })
    const sid = await broken.seed()
    expect(await refusal(broken, sid, await broken.token(sid))).toBe('503 keys_unavailable')
    expect(await rowsOf(sid)).toBe(1)
  })

  test('keys that never arrive are 503 at the deadline', async () => {
    await using silent = await Rig.start(database, keys, {
      keys: () => new Promise(() => undefined),
      limits: { upgradeMs: 100 },
    })
    const sid = await silent.seed()
    expect(await refusal(silent, sid, await silent.token(sid))).toBe('503 store_unavailable')
    expect(silent.gateway.stats().pending).toBe(0)
  })

  test('a database connection that is killed during the statement is 503, and nobody gets in', async () => {
    const sid = await rig.seed({ port: pod.port })
    const token = await rig.token(sid)
    // A lock on the row holds the statement where it can be killed.
    const blocker = new (await import('pg')).default.Client({ connectionString: database.url })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select 1 from token_jti where session_id = $1 for update', [sid])
    const answer = refusal(rig, sid, token)
    await until(async () => {
      const { rowCount } = await database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where wait_event_type = 'Lock' and application_name = 'cliscale-gateway' and datname = current_database()`,
      )
      return rowCount
    })
    expect(await answer).toBe('503 store_unavailable')
    await blocker.end()
    expect(await rowsOf(sid)).toBe(1)
    const ws = rig.open(sid, { query: `?token=${token}` })
    await once(ws, 'open')
    ws.terminate()
  })

  test('a client that resets at any moment leaves nothing behind', async () => {
    const sid = await rig.seed({ port: pod.port })
    for (let round = 0; round < 40; round += 1) {
      const token = await rig.token(sid)
      const socket = net.connect(rig.port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write(upgradeHead({ path: `/ws/${sid}?token=${token}`, host: rig.host }))
      await new Promise((resolve) => setTimeout(resolve, round / 8))
      socket.resetAndDestroy()
    }
    await until(() => {
      const { pending, open } = rig.gateway.stats()
      return pending === 0 && Object.values(open).every((n) => n === 0) && pod.sockets.size === 0
    })
    expect(rig.logs.filter((line) => line.includes('"ERROR"'))).toEqual([])
  })
})
