import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { TOKEN_ISSUER } from '@cliscale/contract'
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  exportJWK,
  type JSONWebKeySet,
  type JWK,
  type JWTPayload,
  type JWTVerifyGetKey,
  SignJWT,
} from 'jose'

const ALGORITHM = 'RS256'
const MODULUS_BITS = 2048

interface SignOptions {
  /** The `typ` of the header: it keeps one kind of token from being taken for another. */
  readonly type: string
  readonly audience: string
  /** Without it the token has no `exp`. */
  readonly expiresInSeconds?: number
  /** For tests: the moment of signing. */
  readonly now?: Date
}

/** Signs our tokens. The one place that holds private keys. */
export interface Signer {
  /** A compact JWT, RS256, with `iss`, `aud`, `iat`, and `exp` when it expires. */
  sign(claims: JWTPayload, options: SignOptions): Promise<string>
  /** The public halves of all keys: old and new during a rotation. */
  jwks(): JSONWebKeySet
  /** For jose's `jwtVerify` in the same process. */
  readonly keys: JWTVerifyGetKey
}

/**
 * A signer over RSA private keys in PEM (PKCS #8). The first signs; all are published, so that a token of a key that
 * is on its way out is still good.
 *
 * @throws Error when there is no key, or one of them is not an RSA private key of at least 2048 bits.
 */
export async function createSigner(pemKeys: readonly string[]): Promise<Signer> {
  if (pemKeys.length === 0) throw new Error('there is no signing key')
  const keys = await Promise.all(pemKeys.map(readKey))
  const active = keys[0]!
  const published = { keys: uniqueByKid(keys.map((key) => key.jwk)) }
  return {
    sign: (claims, { type, audience, expiresInSeconds, now = new Date() }) => {
      const issuedAt = Math.floor(now.getTime() / 1000)
      const token = new SignJWT(claims)
        .setProtectedHeader({ alg: ALGORITHM, typ: type, kid: active.jwk.kid! })
        .setIssuer(TOKEN_ISSUER)
        .setAudience(audience)
        .setIssuedAt(issuedAt)
      if (expiresInSeconds !== undefined) token.setExpirationTime(issuedAt + expiresInSeconds)
      return token.sign(active.privateKey)
    },
    jwks: () => structuredClone(published),
    keys: createLocalJWKSet(published),
  }
}

async function readKey(pem: string): Promise<{ privateKey: KeyObject; jwk: JWK }> {
  const fault = signingKeyFault(pem)
  if (fault !== undefined) throw new Error(`a signing key ${fault}`)
  const privateKey = createPrivateKey(pem)
  const { kty, n, e } = await exportJWK(createPublicKey(privateKey))
  const kid = await calculateJwkThumbprint({ kty: kty!, n: n!, e: e! })
  return { privateKey, jwk: { kty: kty!, n: n!, e: e!, kid, alg: ALGORITHM, use: 'sig' } }
}

/** What is wrong with a PEM as a signing key, without anything of the key; undefined when it can be used. */
export function signingKeyFault(pem: string): string | undefined {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch {
    return 'is not an unencrypted private key in PEM'
  }
  if (key.asymmetricKeyType !== 'rsa') return `must be an RSA key, not ${key.asymmetricKeyType ?? 'of an unknown kind'}`
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength < MODULUS_BITS) return `must have at least ${MODULUS_BITS} bits, not ${modulusLength}`
  if (publicExponent < 65537n) return `must have a public exponent of at least 65537, not ${publicExponent}`
  return undefined
}

/** The PEM blocks of a text, which may hold several; line breaks may be written as `\n`, as in many env files. */
export function splitPem(text: string): string[] {
  const blocks = text.replaceAll('\\n', '\n').match(/-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----/g)
  return (blocks ?? []).map((block) => `${block}\n`)
}

/** A new RSA private key as PKCS #8 PEM. */
export async function generateSigningKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: MODULUS_BITS })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

function uniqueByKid(keys: readonly JWK[]): JWK[] {
  return [...new Map(keys.map((key) => [key.kid, key])).values()]
}
