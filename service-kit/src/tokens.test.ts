import { beforeAll, describe, expect, test } from '@jest/globals'
import { createLocalJWKSet, exportJWK, generateKeyPair, type JWTVerifyGetKey, SignJWT } from 'jose'
import { verifyToken } from './tokens.ts'

const KIND = { audience: 'cliscale-ws', type: 'cliscale-session+jwt' }
const codeOf = (token: string, keys: JWTVerifyGetKey): Promise<string> =>
  verifyToken(token, keys, KIND, Date.now()).then(
    () => 'accepted',
    (error: { code: string }) => error.code,
  )

describe('a token', () => {
  let keys: JWTVerifyGetKey
  let token: string
  beforeAll(async () => {
    const pair = await generateKeyPair('RS256')
    keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'a' }] })
    token = await new SignJWT({ jti: 'x' })
      .setProtectedHeader({ alg: 'RS256', kid: 'a', typ: KIND.type })
      .setIssuer('cliscale')
      .setAudience(KIND.audience)
      .sign(pair.privateKey)
  })

  test('that we signed is accepted as its own type, and as no other', async () => {
    expect(await codeOf(token, keys)).toBe('accepted')
    for (const other of [{ audience: 'cliscale-host' }, { type: 'cliscale-attach+jwt' }])
      await expect(verifyToken(token, keys, { ...KIND, ...other }, Date.now())).rejects.toMatchObject({
        code: 'token_invalid',
      })
  })

  test('is refused when any single bit is changed', async () => {
    const verdicts = new Set<string>()
    for (let at = 0; at < token.length; at += 7) {
      const changed = String.fromCharCode(token.charCodeAt(at) ^ 1)
      verdicts.add(await codeOf(token.slice(0, at) + changed + token.slice(at + 1), keys))
    }
    expect([...verdicts]).toEqual(['token_invalid'])
  })
})
