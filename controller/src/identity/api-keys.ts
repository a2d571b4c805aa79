import { createHash, timingSafeEqual } from 'node:crypto'

/** What is kept of an API key: whose it is, and its SHA-256. */
export interface ApiKey {
  readonly owner: string
  readonly hash: Buffer
}

const MIN_KEY_CHARS = 8
/** Longest key that is looked at; a longer one is nobody's. */
const MAX_KEY_CHARS = 512
/** The characters of a bearer token (RFC 6750 section 2.1). */
const KEY = /^[A-Za-z0-9._~+/-]+=*$/

/** Reads keys separated by commas; each is an owner of its own. `report` gets what is wrong, without the key. */
export function readApiKeys(text: string, report: (message: string) => void): ApiKey[] {
  const keys = text.split(',').map((key) => key.trim())
  for (const key of keys) {
    if (key.length < MIN_KEY_CHARS || key.length > MAX_KEY_CHARS)
      report(`must have ${MIN_KEY_CHARS} to ${MAX_KEY_CHARS} characters, not ${key.length}`)
    else if (!KEY.test(key)) report('must contain only letters, digits and - . _ ~ + / (with = at its end)')
  }
  return keys.map((key) => {
    const hash = sha256(key)
    return { owner: `key-${hash.toString('hex').slice(0, 24)}`, hash }
  })
}

/** Whose key it is; undefined for a key that is nobody's. Takes as long for every key of the same length. */
export function findOwner(keys: readonly ApiKey[], presented: string): string | undefined {
  const hash = sha256(presented.slice(0, MAX_KEY_CHARS + 1))
  let owner: string | undefined
  for (const key of keys) if (timingSafeEqual(key.hash, hash)) owner = key.owner
  return owner
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest()
}
