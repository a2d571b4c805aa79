import { createHmac, hkdfSync } from 'node:crypto'

const DATA_KEY_BYTES = 32

/** Reads the data key: 32 bytes as base64, base64url or hexadecimal digits; undefined when it is none of them. */
export function parseDataKey(text: string): Buffer | undefined {
  const compact = text.trim()
  if (/^[0-9a-fA-F]{64}$/.test(compact)) return Buffer.from(compact, 'hex')
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(compact)) return undefined
  const key = Buffer.from(compact, 'base64')
  return key.length === DATA_KEY_BYTES ? key : undefined
}

/** A key for one purpose, so that no two uses of the data key share one (HKDF with SHA-256, RFC 5869). */
export function deriveKey(dataKey: Buffer, purpose: string): Buffer {
  if (dataKey.length !== DATA_KEY_BYTES) throw new TypeError(`the data key has ${DATA_KEY_BYTES} bytes`)
  return Buffer.from(hkdfSync('sha256', dataKey, '', `cliscale ${purpose}`, 32))
}

/** A fingerprint of a request body that says nothing about it to whoever lacks the data key. Order of keys is no matter. */
export function fingerprint(dataKey: Buffer, body: unknown): Buffer {
  return createHmac('sha256', deriveKey(dataKey, 'idempotency v1')).update(canonicalJson(body)).digest()
}

/** JSON with the keys of every object in order; a key whose value is undefined is left out. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner
    // Object.create(null): a key named __proto__ must stay a key.
    const sorted = Object.create(null) as Record<string, unknown>
    for (const name of Object.keys(inner).sort()) sorted[name] = (inner as Record<string, unknown>)[name]
    return sorted
  })
}
