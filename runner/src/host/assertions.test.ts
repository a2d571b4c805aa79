import { beforeAll, describe, expect, test } from '@jest/globals'
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose'
import { createAssertionVerifier, KEYS_COOLDOWN_MS } from './assertions.ts'

const SID = '0b9f2d50-6a3e-4d0f-9c77-1f1f4d1c2a10'
const OTHER = '1b9f2d50-6a3e-4d0f-9c77-1f1f4d1c2a10'
const VIEWER = '2b9f2d50-6a3e-4d0f-9c77-1f1f4d1c2a10'
type Pair = Awaited<ReturnType<typeof generateKeyPair>>
let first: Pair
let second: Pair

beforeAll(async () => {
  first = await generateKeyPair('RS256')
  second = await generateKeyPair('RS256')
})

interface Change {
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
  issuer?: string
  audience?: string
  pair?: Pair
}

function sign(change: Change = {}): Promise<string> {
  return new SignJWT({ sid: SID, mode: 'rw', viewer: VIEWER, ...change.claims })
    .setProtectedHeader({ alg: 'RS256', kid: 'a', typ: 'cliscale-attach+jwt', ...change.header })
    .setIssuer(change.issuer ?? 'cliscale')
    .setAudience(change.audience ?? 'cliscale-host')
    .setIssuedAt()
    .sign((change.pair ?? first).privateKey)
}

async function keySet(...keys: [string, Pair][]): Promise<JSONWebKeySet> {
  return { keys: await Promise.all(keys.map(async ([kid, pair]) => ({ ...(await exportJWK(pair.publicKey)), kid }))) }
}

describe('an assertion', () => {
  test.each<[string, Change]>([
    ['of another session', { claims: { sid: OTHER } }],
    ['without a session', { claims: { sid: undefined } }],
    ['with another mode', { claims: { mode: 'admin' } }],
    ['without a viewer', { claims: { viewer: 7 } }],
    ['for another audience', { audience: 'cliscale-ws' }],
    ['of another issuer', { issuer: 'evil' }],
    ['of another type', { header: { typ: 'cliscale-session+jwt' } }],
    ['of another algorithm', { header: { alg: 'PS256' } }],
    ['with another key under the same kid', {}],
    ['with a critical header', { header: { crit: ['x'], x: 1 } }],
  ])('%s is refused', async (name, change) => {
    const verify = createAssertionVerifier({ sessionId: SID, fetchKeys: () => keySet(['a', first]) })
    const pair = name.startsWith('with another key') ? second : first
    const token = await sign({ ...change, pair }).catch(() => 'not even made')
    await expect(verify(token)).rejects.toThrow()
  })

  test.each([
    ['nothing', ''],
    ['words', 'a.b.c'],
    ['alg none', `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{}').toString('base64url')}.`],
    ['5 MB', 'x'.repeat(5_000_000)],
  ])('that is %s is refused', async (_, token) => {
    const verify = createAssertionVerifier({ sessionId: SID, fetchKeys: () => keySet(['a', first]) })
    await expect(verify(token)).rejects.toThrow()
  })

  test('that we signed is read', async () => {
    const verify = createAssertionVerifier({ sessionId: SID, fetchKeys: () => keySet(['a', first]) })
    expect(await verify(await sign({ claims: { mode: 'ro' } }))).toEqual({ sid: SID, mode: 'ro', viewer: VIEWER })
  })
})

describe('the keys', () => {
  test('are fetched once for many assertions, again for an unknown kid, and not again within the cooldown', async () => {
    let nowMs = 0
    let fetches = 0
    let published = await keySet(['a', first])
    const fetchKeys = (): Promise<JSONWebKeySet> => {
      fetches++
      return Promise.resolve(published)
    }
    const verify = createAssertionVerifier({ sessionId: SID, fetchKeys, now: () => nowMs })
    const ours = await sign()
    await Promise.all(Array.from({ length: 20 }, () => verify(ours)))
    expect(fetches).toBe(1)
    const next = await sign({ header: { kid: 'b' }, pair: second })
    for (let i = 0; i < 50; i++) await expect(verify(next)).rejects.toThrow()
    expect(fetches).toBe(1)
    nowMs += KEYS_COOLDOWN_MS
    published = await keySet(['a', first], ['b', second])
    expect((await verify(next)).sid).toBe(SID)
    expect(fetches).toBe(2)
    await verify(ours)
    expect(fetches).toBe(2)
  })

  test('are kept while the controller is unavailable or sends nonsense', async () => {
    let nowMs = 0
    let answer: () => Promise<JSONWebKeySet> = () => keySet(['a', first])
    const verify = createAssertionVerifier({ sessionId: SID, fetchKeys: () => answer(), now: () => nowMs })
    const ours = await sign()
    await verify(ours)
    nowMs += KEYS_COOLDOWN_MS
    answer = () => Promise.reject(new Error('away'))
    await expect(verify(await sign({ header: { kid: 'b' } }))).rejects.toMatchObject({ code: 'keys_unavailable' })
    nowMs += KEYS_COOLDOWN_MS
    answer = () => Promise.resolve({ nonsense: true } as unknown as JSONWebKeySet)
    await expect(verify(await sign({ header: { kid: 'b' } }))).rejects.toThrow()
    expect((await verify(ours)).sid).toBe(SID)
  })

  test('are fetched again after the first fetch failed', async () => {
    let away = true
    const fetchKeys = (): Promise<JSONWebKeySet> => (away ? Promise.reject(new Error('away')) : keySet(['a', first]))
    const verify = createAssertionVerifier({ sessionId: SID, fetchKeys })
    const ours = await sign()
    await expect(verify(ours)).rejects.toMatchObject({ code: 'keys_unavailable' })
    away = false
    expect((await verify(ours)).sid).toBe(SID)
  })
})
