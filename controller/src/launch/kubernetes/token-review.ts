import { createHash } from 'node:crypto'
import { TOKEN_AUDIENCE } from './job-spec.ts'
import type { KubernetesApi } from './api.ts'

/** The pod whose token somebody showed. */
export interface TokenHolder {
  readonly podName: string
  readonly podUid: string
}

export interface TokenReviewer {
  /**
   * Whose token it is, by the cluster's word; undefined when it is no valid token of a pod of the sessions' namespace,
   * made for us. Calls with the same token that meet share one review.
   *
   * @throws LauncherUnavailable when the cluster can't be asked.
   */
  review(token: string): Promise<TokenHolder | undefined>
}

const MAX_TOKEN_BYTES = 16 * 1024
/** Reviews under way at once; the others wait. */
const MAX_AT_ONCE = 8
const POD_NAME = 'authentication.kubernetes.io/pod-name'
const POD_UID = 'authentication.kubernetes.io/pod-uid'

/** Asks by TokenReview, which counts as a write: what cannot be such a token at all is not asked about. */
export function createTokenReviewer(options: { api: KubernetesApi; namespace: string }): TokenReviewer {
  const { api, namespace } = options
  const underWay = new Map<string, Promise<TokenHolder | undefined>>()
  const queue: (() => void)[] = []
  let running = 0

  async function ask(token: string): Promise<TokenHolder | undefined> {
    if (running >= MAX_AT_ONCE) await new Promise<void>((resolve) => queue.push(resolve))
    running++
    try {
      const body = {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [TOKEN_AUDIENCE] },
      }
      const path = '/apis/authentication.k8s.io/v1/tokenreviews'
      return holderOf(await api.call({ method: 'POST', path, body }), namespace)
    } finally {
      running--
      queue.shift()?.()
    }
  }

  return {
    async review(token) {
      if (!mayBeOurs(token, namespace)) return undefined
      const key = createHash('sha256').update(token).digest('base64')
      const shared = underWay.get(key)
      if (shared !== undefined) return shared
      const asked = ask(token).finally(() => underWay.delete(key))
      underWay.set(key, asked)
      return asked
    },
  }
}

/** Whether a token says of itself, unproven, that it is a pod's of that namespace and for us. */
function mayBeOurs(token: string, namespace: string): boolean {
  if (token.length > MAX_TOKEN_BYTES) return false
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(token)?.[1]
  if (payload === undefined) return false
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as {
      aud?: unknown
      'kubernetes.io'?: { namespace?: unknown; pod?: { uid?: unknown } }
    }
    const place = claims['kubernetes.io']
    const isForUs = Array.isArray(claims.aud) && claims.aud.includes(TOKEN_AUDIENCE)
    return isForUs && place?.namespace === namespace && typeof place.pod?.uid === 'string'
  } catch {
    return false
  }
}

interface Review {
  readonly status?: {
    readonly authenticated?: boolean
    readonly audiences?: readonly string[]
    readonly user?: { readonly username?: string; readonly extra?: Readonly<Record<string, readonly string[]>> }
  }
}

function holderOf(review: unknown, namespace: string): TokenHolder | undefined {
  const { audiences, authenticated, user } = (review as Review).status ?? {}
  if (authenticated !== true || !audiences?.includes(TOKEN_AUDIENCE)) return undefined
  if (!user?.username?.startsWith(`system:serviceaccount:${namespace}:`)) return undefined
  const [podName, podUid] = [user.extra?.[POD_NAME]?.[0], user.extra?.[POD_UID]?.[0]]
  return podName && podUid ? { podName, podUid } : undefined
}
