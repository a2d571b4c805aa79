import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/** A fresh report credential. It names its session, so that it is found by primary key; it is stored as a hash only. */
export function createReportCredential(sessionId: string): { credential: string; hash: Buffer } {
  const credential = `cs_report_${sessionId}_${randomBytes(32).toString('base64url')}`
  return { credential, hash: sha256(credential) }
}

/** The session that a credential claims to be for; undefined when it is none of ours. Proves nothing. */
export function sessionOfCredential(credential: string): string | undefined {
  return /^cs_report_([0-9a-f-]{36})_[\w-]{43}$/.exec(credential)?.[1]
}

/** Whether a credential is the one that was stored; in constant time. */
export function matchesCredential(credential: string, hash: Buffer | null): boolean {
  const actual = sha256(credential)
  return hash !== null && hash.length === actual.length && timingSafeEqual(actual, hash)
}

/** SHA-256 of a string. */
export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
