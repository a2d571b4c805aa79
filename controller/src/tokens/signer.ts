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

export interface SignOptions {
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
  /** The public halves of the keys that may sign: old and new during a rotation. */
  jwks(): JSONWebKeySet
  /**
   * The same and the keys that have been retired, for the hosts of sessions: what they verify (an attach assertion) has
   * no end of its own, so it may be older than the key that signs now. Nobody else is to believe a retired key: one that
   * was retired because it leaked then makes no session token that a gateway would take.
   */
  hostJwks(): JSONWebKeySet
  /** For jose's `jwtVerify` in the same process. */
  readonly keys: JWTVerifyGetKey
}

/**
 * A signer over RSA keys in PEM. The first private key (PKCS #8 or PKCS #1) signs; the others are published, so that a
 * token of a key that is on its way out, or a key on its way in, is good. Public keys are those of retired ones.
 *
 * @throws Error when there is no private key, or one is not an RSA key of at least 2048 bits.
 */
export async function createSigner(pemKeys: readonly string[]): Promise<Signer> {
  const keys = await Promise.all(pemKeys.map(readKey))
  const active = keys.find(hasPrivateKey)
  if (active === undefined) throw new Error('there is no signing key')
  const published = { keys: uniqueByKid(keys.filter(hasPrivateKey).map((key) => key.jwk)) }
  const all = { keys: uniqueByKid(keys.map((key) => key.jwk)) }
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
    hostJwks: () => structuredClone(all),
    keys: createLocalJWKSet(published),
  }
}

interface Key {
  readonly jwk: JWK
  /** Absent: the key has been retired. */
  readonly privateKey: KeyObject | undefined
}

function hasPrivateKey(key: Key): key is Key & { readonly privateKey: KeyObject } {
  return key.privateKey !== undefined
}

async function readKey(pem: string): Promise<Key> {
  const fault = signingKeyFault(pem)
  if (fault !== undefined) throw new Error(`a signing key ${fault}`)
  const privateKey = isPublicPem(pem) ? undefined : createPrivateKey(pem)
  const { kty, n, e } = await exportJWK(createPublicKey(pem))
  const kid = await calculateJwkThumbprint({ kty: kty!, n: n!, e: e! })
  return { privateKey, jwk: { kty: kty!, n: n!, e: e!, kid, alg: ALGORITHM, use: 'sig' } }
}

/** The RFC 7638 thumbprint of an RSA key in PEM. @throws Error when it is none that can be used. */
export async function kidOf(pem: string): Promise<string> {
  return (await readKey(pem)).jwk.kid!
}

/** Whether a PEM holds only the public half of a key: a retired one. */
export function isPublicPem(pem: string): boolean {
  return /^-----BEGIN (RSA )?PUBLIC KEY-----/.test(pem)
}

/** The public half of a key in PEM. */
export function publicPem(pem: string): string {
  return createPublicKey(pem).export({ type: 'spki', format: 'pem' }) as string
}

/** What is wrong with a PEM as a key of ours, without anything of the key; undefined when it can be used. */
function signingKeyFault(pem: string): string | undefined {
  let key: KeyObject
  try {
    key = isPublicPem(pem) ? createPublicKey(pem) : createPrivateKey(pem)
  } catch {
    return isPublicPem(pem) ? 'is not a public key in PEM' : 'is not an unencrypted private key in PEM'
  }
  if (key.asymmetricKeyType !== 'rsa') return `must be an RSA key, not ${key.asymmetricKeyType ?? 'of an unknown kind'}`
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength < MODULUS_BITS) return `must have at least ${MODULUS_BITS} bits, not ${modulusLength}`
  if (publicExponent < 65537n) return `must have a public exponent of at least 65537, not ${publicExponent}`
  return undefined
}

/** What is wrong with a list of PEM blocks as our keys: a sentence for each fault, with nothing of the keys. */
export function signingKeyFaults(pemKeys: readonly string[]): string[] {
  if (!pemKeys.some((pem) => !isPublicPem(pem))) return ['must hold an RSA private key in PEM']
  return pemKeys.map(signingKeyFault).filter((fault) => fault !== undefined)
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
