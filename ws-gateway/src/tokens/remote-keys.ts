import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey } from 'jose'

/** The controller's public keys, fetched when they are needed and kept. */
export interface RemoteKeys {
  readonly find: JWTVerifyGetKey
  /** Resolves once keys have been had; asks for them when they have not. Rejects when they cannot be had now. */
  haveBeenHad(): Promise<void>
}

/** An unknown key is asked for this often at most, in milliseconds. */
const COOLDOWN_MS = 30_000
const MAX_AGE_MS = 600_000
const TIMEOUT_MS = 5_000

/** One for a process: it caches, and requests that meet share one fetch. `onFailure` is told of each fetch that failed. */
export function createRemoteKeys(url: URL, onFailure: () => void): RemoteKeys {
  const remote = createRemoteJWKSet(url, {
    cooldownDuration: COOLDOWN_MS,
    cacheMaxAge: MAX_AGE_MS,
    timeoutDuration: TIMEOUT_MS,
    [customFetch]: async (address, options) => {
      try {
        return await fetchKeys(address, options)
      } catch (error) {
        onFailure()
        throw error
      }
    },
  })
  return {
    find: remote,
    haveBeenHad: async () => {
      if (remote.jwks() === undefined) await remote.reload()
    },
  }
}

/** @throws when the answer is not a set with keys; jose would take an empty one, and then nobody gets in. */
async function fetchKeys(...request: Parameters<typeof fetch>): Promise<Response> {
  const response = await fetch(...request)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`the request for the keys was answered with ${response.status}`)
  const { keys } = JSON.parse(text) as { keys?: unknown }
  if (!Array.isArray(keys) || keys.length === 0) throw new Error('the answer contains no keys')
  return new Response(text, { headers: { 'content-type': 'application/json' } })
}
