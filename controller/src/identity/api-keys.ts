import { createHash, timingSafeEqual } from 'node:crypto'

/** What is kept of an API key: whose it is, and its SHA-256. */
export interface ApiKey {
  readonly owner: string
  readonly hash: Buffer
  /** Whose it was, or would be, without a name. */
  readonly namelessOwner: string
}

const MIN_KEY_CHARS = 8
/** Longest key that is looked at; a longer one is nobody's. */
const MAX_KEY_CHARS = 512
/** The characters of a bearer token (RFC 6750 section 2.1). No colon: that ends a name. */
const KEY = /^[A-Za-z0-9._~+/-]+=*$/
const NAME = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/

/**
 * Reads keys separated by commas, each a `key` or a `name:key`. Keys with the same name are one owner, whatever their
 * values; a key without a name is an owner of its own. `report` gets what is wrong, without the key.
 */
export function readApiKeys(text: string, report: (message: string) => void): ApiKey[] {
  const entries = text.split(',').map((entry) => splitName(entry.trim()))
  for (const { name, key } of entries) {
    if (name !== undefined && !NAME.test(name))
      report(
        'must have, before each colon, a name of 1 to 32 lower-case letters, digits and hyphens that neither begins nor ends with a hyphen',
      )
    else if (key.length < MIN_KEY_CHARS || key.length > MAX_KEY_CHARS)
      report(`must have ${MIN_KEY_CHARS} to ${MAX_KEY_CHARS} characters, not ${key.length}`)
    else if (!KEY.test(key)) report('must contain only letters, digits and - . _ ~ + / (with = at its end)')
  }
  if (new Set(entries.map(({ key }) => key)).size < entries.length) report('must not contain the same key twice')
  return entries.map(({ name, key }) => {
    const hash = sha256(key)
    const namelessOwner = `key-${hash.toString('hex').slice(0, 24)}`
    return { owner: name === undefined ? namelessOwner : ownerNamed(name), hash, namelessOwner }
  })
}

/**
 * Whose key it is; undefined for a key that is nobody's. A key may be presented as it is configured, with its own name.
 * Takes as long for every key of the same length.
 */
export function findOwner(keys: readonly ApiKey[], presented: string): string | undefined {
  const { name, key } = splitName(presented)
  const hash = sha256(key.slice(0, MAX_KEY_CHARS + 1))
  let owner: string | undefined
  for (const known of keys) if (timingSafeEqual(known.hash, hash)) owner = known.owner
  return name === undefined || owner === ownerNamed(name) ? owner : undefined
}

function ownerNamed(name: string): string {
  return `service-${name}`
}

function splitName(entry: string): { readonly name: string | undefined; readonly key: string } {
  const end = entry.indexOf(':')
  return { name: end < 0 ? undefined : entry.slice(0, end), key: entry.slice(end + 1) }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest()
}
