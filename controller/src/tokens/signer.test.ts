import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { calculateJwkThumbprint, createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { createSigner, generateSigningKey, kidOf, publicPem, signingKeyFaults, splitPem } from './signer.ts'

const [OLD, NEW] = await Promise.all([generateSigningKey(), generateSigningKey()])
const OPTIONS = { type: 'cliscale-session+jwt', audience: 'cliscale-ws' }

describe('the signer', () => {
  test('signs RS256 with the first key, whose kid is its RFC 7638 thumbprint', async () => {
    const signer = await createSigner([NEW, OLD])
    const token = await signer.sign(
      { sid: 'x' },
      { ...OPTIONS, expiresInSeconds: 300, now: new Date(1_800_000_000_000) },
    )
    const [first] = signer.jwks().keys
    const kid = await calculateJwkThumbprint(first!)
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'RS256', typ: OPTIONS.type, kid })
    expect(first!.kid).toBe(kid)
    const { payload } = await jwtVerify(token, signer.keys, { currentDate: new Date(1_800_000_299_000) })
    expect(payload).toEqual({ iss: 'cliscale', aud: 'cliscale-ws', sid: 'x', iat: 1_800_000_000, exp: 1_800_000_300 })
  })

  test('publishes no private key', async () => {
    const { keys } = (await createSigner([NEW])).jwks()
    expect(keys.map((key) => Object.keys(key).sort())).toEqual([['alg', 'e', 'kid', 'kty', 'n', 'use']])
  })

  test('keeps tokens of the old key valid through a rotation, until that key is removed', async () => {
    const before = await createSigner([OLD])
    const during = await createSigner([NEW, OLD])
    const after = await createSigner([NEW])
    const token = await before.sign({ sid: 'x' }, OPTIONS)
    await expect(jwtVerify(token, during.keys)).resolves.toHaveProperty('payload.sid', 'x')
    await expect(jwtVerify(token, after.keys)).rejects.toThrow(/no applicable key/)
  })

  test('publishes a key once although it is named twice', async () => {
    expect((await createSigner([NEW, NEW])).jwks().keys).toHaveLength(1)
  })

  test('refuses short, foreign and broken keys without showing them', async () => {
    const pem = (type: 'rsa' | 'ed25519') =>
      (type === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 1024 }) : generateKeyPairSync('ed25519')).privateKey
        .export({ type: 'pkcs8', format: 'pem' })
        .toString()
    await expect(createSigner([])).rejects.toThrow('there is no signing key')
    await expect(createSigner([pem('rsa')])).rejects.toThrow('at least 2048 bits, not 1024')
    await expect(createSigner([pem('ed25519')])).rejects.toThrow('must be an RSA key, not ed25519')
    await expect(createSigner(['canary'])).rejects.toThrow(/^a signing key is not an unencrypted private key in PEM$/)
  })

  test('reads several keys from one text, also with escaped newlines', () => {
    expect(splitPem(`${NEW}\n${OLD}`)).toEqual([NEW, OLD])
    expect(splitPem(NEW.replaceAll('\n', '\\n'))).toEqual([NEW])
    expect(splitPem('nothing')).toEqual([])
  })
})

describe('retired keys', () => {
  test('are published to session hosts only, and never sign', async () => {
    const retired = publicPem(OLD)
    const signer = await createSigner([retired, NEW])
    const [old, current] = [await kidOf(OLD), await kidOf(NEW)]
    expect(await kidOf(retired)).toBe(old)
    expect(signer.jwks().keys.map(({ kid }) => kid)).toEqual([current])
    expect(signer.hostJwks().keys.map(({ kid }) => kid)).toEqual([old, current])
    expect(decodeProtectedHeader(await signer.sign({}, OPTIONS)).kid).toBe(current)
    const token = await (await createSigner([OLD])).sign({ sid: 'x' }, OPTIONS)
    await expect(jwtVerify(token, signer.keys)).rejects.toThrow(/no applicable key/)
    await expect(jwtVerify(token, createLocalJWKSet(signer.hostJwks()))).resolves.toHaveProperty('payload.sid', 'x')
  })

  test('need a signing key beside them, and must be valid', async () => {
    await expect(createSigner([publicPem(OLD)])).rejects.toThrow('there is no signing key')
    expect(signingKeyFaults([publicPem(OLD)])).toEqual(['must hold an RSA private key in PEM'])
    const broken = '-----BEGIN PUBLIC KEY-----\ncanary\n-----END PUBLIC KEY-----\n'
    expect(signingKeyFaults([NEW, broken])).toEqual(['is not a public key in PEM'])
    expect(signingKeyFaults([])).toEqual(['must hold an RSA private key in PEM'])
  })
})

test('a key in PKCS #1, as Helm makes it, equals the same key in PKCS #8', async () => {
  const pkcs1 = createPrivateKey(NEW).export({ type: 'pkcs1', format: 'pem' }) as string
  expect(pkcs1).toMatch(/^-----BEGIN RSA PRIVATE KEY-----/)
  expect(splitPem(`${pkcs1}\n${publicPem(OLD)}`)).toHaveLength(2)
  expect(signingKeyFaults([pkcs1])).toEqual([])
  expect((await createSigner([pkcs1])).jwks()).toEqual((await createSigner([NEW])).jwks())
})
