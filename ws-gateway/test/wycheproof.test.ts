/** Vectors of C2SP/wycheproof against our reading of compact signatures. Registered only where the corpus lies. */
import type { JsonWebKey } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { createLocalJWKSet } from 'jose'
import { isSignedBy, parseCompactJws } from '../src/tokens/jws.ts'

interface Group {
  readonly public?: JsonWebKey & { alg?: string; kty?: string }
  readonly private?: JsonWebKey & { alg?: string; kty?: string }
  readonly tests: readonly { tcId: number; comment: string; jws: unknown; result: 'valid' | 'invalid' }[]
}

const corpus = new URL('../../../shared/corpora/jose/json_web_signature_test.json', import.meta.url)

if (existsSync(corpus)) {
  const { testGroups } = JSON.parse(readFileSync(corpus, 'utf8')) as { testGroups: readonly Group[] }
  const vectors = testGroups.flatMap((group) =>
    group.tests.filter(({ jws }) => typeof jws === 'string').map((vector) => ({ ...vector, key: group.public })),
  )
  // RSASSA keys with a flaw in their primes look like any other: a fault of the key, not of the signature.
  const isRoca = (comment: string): boolean => /roca/i.test(comment)

  test('no vector that is invalid as RS256 is accepted', async () => {
    const wrong: string[] = []
    for (const { jws, key, result, tcId, comment } of vectors)
      if (result === 'invalid' && !isRoca(comment) && (await accepts(String(jws), key)))
        wrong.push(`${tcId} ${comment}`)
    expect(wrong).toEqual([])
    expect(vectors.length).toBeGreaterThan(200)
  })

  test('the valid RS256 vectors are accepted', async () => {
    const valid = vectors.filter(({ result, key }) => result === 'valid' && key?.alg === 'RS256')
    const verdicts = await Promise.all(valid.map(({ jws, key }) => accepts(String(jws), key)))
    expect(verdicts.length).toBeGreaterThan(0)
    expect(verdicts).not.toContain(false)
  })
} else {
  test('the wycheproof corpus is not on this machine', () => {
    expect(existsSync(corpus)).toBe(false)
  })
}

/** As the verifier does it: the key out of a JWKS by jose, the signature by us. */
async function accepts(token: string, key: Group['public']): Promise<boolean> {
  const jws = parseCompactJws(token)
  if (jws === undefined || jws.header['alg'] !== 'RS256' || key === undefined) return false
  const [head, payload, signature] = jws.parts
  try {
    const keys = createLocalJWKSet({ keys: [key] } as never)
    return isSignedBy(jws, await keys({ ...jws.header, alg: 'RS256' }, { protected: head, payload, signature }))
  } catch {
    return false
  }
}
