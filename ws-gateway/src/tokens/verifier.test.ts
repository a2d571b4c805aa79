import { createHmac, createPrivateKey, generateKeyPairSync, sign as signBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { SESSION_TOKEN, TOKEN_ISSUER } from '@cliscale/contract'
import { createLocalJWKSet, errors } from 'jose'
import { createTokenVerifier } from './verifier.ts'

const NOW = 1_800_000_000
const SID = '0b8f3a52-7a1e-4b6e-9c55-0f2d6c1e4a11'
const JTI = '5d0c1c7e-93a4-4d55-8a55-4b1a0f6f2f22'
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
const small = generateKeyPairSync('rsa', { modulusLength: 1024 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig' }
const jwks = createLocalJWKSet({ keys: [jwk] } as never)
const verifier = createTokenVerifier({ keys: jwks, now: () => NOW * 1000 })

const HEADER = { alg: 'RS256', typ: SESSION_TOKEN.type, kid: 'k1' }
const CLAIMS = {
  iss: TOKEN_ISSUER,
  aud: SESSION_TOKEN.audience,
  sub: 'owner',
  sid: SID,
  jti: JTI,
  mode: 'rw',
  iat: NOW - 10,
  exp: NOW + 290,
}

const b64 = (value: string | Buffer): string => Buffer.from(value).toString('base64url')
function signText(header: string, payload: string, key = pair.privateKey, hash = 'RSA-SHA256'): string {
  const signed = `${b64(header)}.${b64(payload)}`
  return `${signed}.${b64(signBytes(hash, Buffer.from(signed), key))}`
}
const make = (claims: object = {}, header: object = {}, key = pair.privateKey): string =>
  signText(JSON.stringify({ ...HEADER, ...header }), JSON.stringify({ ...CLAIMS, ...claims }), key)

async function codeOf(token: string, keys = verifier): Promise<string> {
  return keys.verify(token, SID).then(
    () => 'accepted',
    (error: { code: string }) => error.code,
  )
}

/** The same text with one of the bits set that its last character leaves unused. */
function withTrailingBits(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1) ?? 'A') + 1]
}

describe('a session JWT', () => {
  test('that we signed opens its session', async () => {
    expect(await verifier.verify(make(), SID)).toEqual({ sub: 'owner', sid: SID, jti: JTI, mode: 'rw' })
  })

  test.each([
    ['nothing in it', ''],
    ['alg none', `${b64(JSON.stringify({ ...HEADER, alg: 'none' }))}.${b64(JSON.stringify(CLAIMS))}.`],
    ['an embedded key', make({}, { jwk: other.publicKey.export({ format: 'jwk' }) }, other.privateKey)],
    ['our own key embedded', make({}, { jwk })],
    ['jku', make({}, { jku: 'http://127.0.0.1:1/jwks' })],
    ['x5u', make({}, { x5u: 'http://127.0.0.1:1/cert' })],
    ['crit', make({}, { crit: ['x'], x: 1 })],
    ['b64 false', make({}, { b64: false, crit: ['b64'] })],
    ['an unknown kid', make({}, { kid: 'k2' })],
    ['kid ../../x', make({}, { kid: '../../x' })],
    ['kid of 2 kB', make({}, { kid: 'k'.repeat(2000) })],
    ['no kid', signText(JSON.stringify({ alg: 'RS256', typ: SESSION_TOKEN.type }), JSON.stringify(CLAIMS))],
    ['a number as kid', make({}, { kid: 1 })],
    ['another typ', make({}, { typ: 'cliscale-attach+jwt' })],
    ['typ JWT', make({}, { typ: 'JWT' })],
    ['another key’s signature', make({}, {}, other.privateKey)],
    [
      'alg RS512 by our key',
      signText(JSON.stringify({ ...HEADER, alg: 'RS512' }), JSON.stringify(CLAIMS), pair.privateKey, 'RSA-SHA512'),
    ],
    ['RS512 named RS256', signText(JSON.stringify(HEADER), JSON.stringify(CLAIMS), pair.privateKey, 'RSA-SHA512')],
    ['alg ES256', make({}, { alg: 'ES256' }, ec.privateKey as never)],
    ['alg PS256', make({}, { alg: 'PS256' })],
    ['iss missing', make({ iss: undefined })],
    ['another iss', make({ iss: 'cliscale ' })],
    ['aud with a space', make({ aud: `${SESSION_TOKEN.audience} ` })],
    ['aud in a list', make({ aud: [SESSION_TOKEN.audience] })],
    ['aud missing', make({ aud: undefined })],
    ['the aud of hosts', make({ aud: 'cliscale-host' })],
    ['sub missing', make({ sub: undefined })],
    ['sub empty', make({ sub: '' })],
    ['sid of another session', make({ sid: JTI })],
    ['jti missing', make({ jti: undefined })],
    ['a jti that is not a UUID', make({ jti: "1' or 1=1" })],
    ['mode missing', make({ mode: undefined })],
    ['mode root', make({ mode: 'root' })],
    ['a string as exp', make({ exp: String(NOW + 100) })],
    ['exp 1e308', signText(JSON.stringify(HEADER), JSON.stringify(CLAIMS).replace(String(NOW + 290), '1e308'))],
    ['exp in 100 years', make({ exp: NOW + 3_000_000_000 })],
    ['a fraction as exp', make({ exp: NOW + 0.5 })],
    ['exp missing', make({ exp: undefined })],
    ['exp before iat', make({ exp: NOW - 20 })],
    ['iat missing', make({ iat: undefined })],
    ['iat 61 s ahead', make({ iat: NOW + 61 })],
    ['nbf 1 h ahead', make({ nbf: NOW + 3600 })],
    ['a string as nbf', make({ nbf: '0' })],
    ['a claim named twice', signText(JSON.stringify(HEADER), JSON.stringify(CLAIMS).replace('{', '{"sub":"admin",'))],
    [
      'a name twice in the header',
      signText(JSON.stringify(HEADER).replace('{', '{"alg":"none",'), JSON.stringify(CLAIMS)),
    ],
    ['spaces in the JSON', signText(JSON.stringify(HEADER), JSON.stringify(CLAIMS, null, 1))],
    ['a payload that is a list', signText(JSON.stringify(HEADER), '[]')],
    ['a payload that is not JSON', signText(JSON.stringify(HEADER), 'x')],
    ['a payload that is not UTF-8', signText(JSON.stringify(HEADER), '"\xff"')],
    ['padding', `${make()}=`],
    ['trailing bits', withTrailingBits(make())],
    ['a space in front', ` ${make()}`],
    ['a line break', make().replace('.', '.\n')],
    ['base64 instead of base64url', make().replaceAll('-', '+').replaceAll('_', '/') + '+'],
    ['two parts', make().split('.').slice(0, 2).join('.')],
    ['five parts', `${make()}.x.y`],
    ['more than 4096 characters', make({ sub: 'x'.repeat(4000) })],
  ])('with %s is refused without a reason', async (_name, token) => {
    expect(await codeOf(token)).toBe('token_invalid')
  })

  test.each([
    ['PEM', pair.publicKey.export({ type: 'spki', format: 'pem' })],
    ['DER', pair.publicKey.export({ type: 'spki', format: 'der' })],
    ['JWK', JSON.stringify(jwk)],
  ])('with an HMAC keyed by our public %s is refused', async (_name, secret) => {
    const signed = `${b64(JSON.stringify({ ...HEADER, alg: 'HS256' }))}.${b64(JSON.stringify(CLAIMS))}`
    expect(await codeOf(`${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`)).toBe(
      'token_invalid',
    )
  })

  test('is expired only after the tolerance for clocks, and then says so', async () => {
    expect(await codeOf(make({ exp: NOW - 5 }))).toBe('accepted')
    expect(await codeOf(make({ iat: NOW - 400, exp: NOW - 60 }))).toBe('token_expired')
    expect(await codeOf(make({ exp: -1 }))).toBe('token_expired')
  })

  test('from a clock that is 59 s ahead is accepted', async () => {
    expect(await codeOf(make({ iat: NOW + 59 }))).toBe('accepted')
  })

  test('is refused when two keys share its kid', async () => {
    const two = createLocalJWKSet({ keys: [jwk, { ...other.publicKey.export({ format: 'jwk' }), kid: 'k1' }] } as never)
    expect(await codeOf(make(), createTokenVerifier({ keys: two, now: () => NOW * 1000 }))).toBe('token_invalid')
  })

  test('is refused when its key is too short', async () => {
    const weak = createLocalJWKSet({ keys: [{ ...small.publicKey.export({ format: 'jwk' }), kid: 'k1' }] } as never)
    const token = make({}, {}, createPrivateKey(small.privateKey.export({ type: 'pkcs8', format: 'pem' })))
    expect(await codeOf(token, createTokenVerifier({ keys: weak, now: () => NOW * 1000 }))).toBe('token_invalid')
  })

  test.each([
    ['time out', new errors.JWKSTimeout()],
    ['are garbage', new errors.JWKSInvalid('x')],
    ['cannot be fetched', new TypeError('fetch failed')],
  ])('is neither accepted nor called invalid while the keys %s', async (_name, error) => {
    const keys = createTokenVerifier({ keys: () => Promise.reject(error), now: () => NOW * 1000 })
    expect(await codeOf(make(), keys)).toBe('keys_unavailable')
  })
})
